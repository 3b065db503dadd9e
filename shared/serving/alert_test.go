package serving_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

// An owner whose document cannot be read gives nothing until somebody has looked at it. No request document stands behind a REQ,
// by which the scheduled function would find out, so the gateway's own line says which document it is.
func TestAnUnreadableOwnerRaisesAnAlert(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	w.stocked(bob, 2)
	document := w.Client.Collection(w.Collections.Owners).Doc(bob.Pubkey)
	if _, err := document.Set(t.Context(), map[string]any{"handed_out": "rubbish"}); err != nil {
		t.Fatal(err)
	}
	client := gateway.login(actors.NewKey())
	client.send(asks("a", bob))
	if ids := client.untilEOSE("a"); len(ids) > 0 {
		t.Errorf("given %v", ids)
	}
	w.eventually("its line is written", func() bool { return len(gateway.log.about(t, "request")) > 0 })
	line := gateway.log.about(t, "request")[0]
	alerts, _ := line["alerts"].([]any)
	if text, _ := line["error"].(string); !slices.Contains(alerts, any("unreadable_document")) || !strings.Contains(text, bob.Pubkey) {
		t.Errorf("the line is %v", line)
	}
}
