package relay

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
)

func TestNudgesOfOneRequesterAreJoined(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan error)
		published := map[string]int{}
		n := &nudger{log: slog.New(slog.DiscardHandler), publish: func(_ context.Context, requester string) error {
			published[requester]++
			return <-gate
		}}
		expect := func(forAlice, forBob int) {
			t.Helper()
			synctest.Wait()
			if published[alice] != forAlice || published[bob] != forBob {
				t.Errorf("published %v, want %d and %d", published, forAlice, forBob)
			}
		}
		n.nudge(alice)
		expect(1, 0)
		for range 5 {
			n.nudge(alice)
		}
		expect(1, 0)
		gate <- errors.New("unavailable") // a failure changes nothing: the next is a new chance
		expect(2, 0)
		gate <- nil
		n.nudge(bob)
		expect(2, 1)
		gate <- nil
		n.nudge(alice)
		expect(3, 1)
		gate <- nil
	})
}
