package gateway

import (
	"sync"
	"testing"
)

// A session that ends while its client logs in is not known under that key afterwards.
func TestNoSessionStaysBehind(t *testing.T) {
	t.Parallel()
	for range 300_000 { // some of which meet
		g := &Gateway{sessions: sessions{byKey: map[string]map[*session]bool{}}}
		s := &session{Gateway: g}
		g.sessions.add(everybody, s)
		var both sync.WaitGroup
		both.Go(func() { s.admit("key") })
		both.Go(func() { g.sessions.remove(s) })
		both.Wait()
		if len(g.sessions.byKey) > 0 {
			t.Fatal("it is still known")
		}
	}
}
