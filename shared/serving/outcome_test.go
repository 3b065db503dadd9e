package serving

import (
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
)

// What is asked of an outcome depends on the time, which goes on: the room of one that is forgotten is free again all the same.
func TestWhatIsForgottenTakesNoRoom(t *testing.T) {
	known := &outcome{request: "r", direct: gateway.DirectEvent{Event: gateway.Event{Event: new(nostr.Event)}}}
	o := outcomes{waiting: map[string][]*outcome{"alice": {known}}, size: known.size()}
	asked := 0
	o.forget(func(*outcome) bool {
		asked++
		return asked > 1
	})
	if left := o.waiting["alice"]; o.size != len(left)*known.size() {
		t.Errorf("%d outcomes are left, and take %d bytes", len(left), o.size)
	}
}
