package histories

import (
	"context"
	"flag"
	"fmt"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/tests/simulation"
)

var pushed = flag.Int("pushed", 8, "number of histories whose messages go through real pushes of the Pub/Sub emulator")

// TestPushedHistories plays histories whose messages the Pub/Sub emulator keeps, pushes and brings again. How its pushes
// interleave is up to the emulator, so a seed makes a similar history, not the same one.
func TestPushedHistories(t *testing.T) {
	t.Parallel()
	backends, broker, tally := simulation.NewBackends(t, players), simulation.NewBroker(t), new(simulation.Tally)
	t.Cleanup(func() { t.Logf("\n%s", tally) })
	for player := range players {
		t.Run(fmt.Sprint("player ", player+1), func(t *testing.T) {
			t.Parallel()
			for seed := player; seed < *pushed; seed += players {
				h := histories.Example(seed)
				if broken := playPushed(h, backends, broker, tally); broken != "" {
					t.Fatalf("seed %d: %s\n%#v", seed, broken, h)
				}
			}
		})
	}
}

func playPushed(h history, backends *simulation.Backends, broker *simulation.Broker, tally *simulation.Tally) string {
	messages, err := broker.NewPushed(context.Background())
	if err != nil {
		return err.Error()
	}
	broken := play(h, backends, simulation.Options{Topic: messages, Tally: tally})
	if err := messages.Close(); err != nil && broken == "" {
		return err.Error()
	}
	return broken
}
