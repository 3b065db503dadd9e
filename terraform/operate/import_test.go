package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

func TestImportOptions(t *testing.T) {
	t.Parallel()
	key := actors.NewKey()
	o, err := importOptions("wss://relay.example", request+", "+encoded(t, "npub", key.Pubkey), "")
	if err != nil || len(o.Authors) != 2 || o.Authors[1] != key.Pubkey {
		t.Errorf("%+v, %v", o, err)
	}
	for _, from := range []string{"", "wss://bob:secret@relay.example", "relay.example", "https://relay.example", "wss://"} {
		if _, err := importOptions(from, "", ""); err == nil {
			t.Errorf("%q is taken for a relay's URL", from)
		}
	}
	if _, err := importOptions("wss://relay.example", "bob", ""); err == nil || !strings.Contains(err.Error(), "-authors") {
		t.Errorf("authors that are none: %v", err)
	}
}

func TestPrintImport(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	report := importing.Report{
		Seen: 130, Taken: 20, Duplicate: map[string]int{"already have this KeyPackage": 100}, Refused: map[string]int{"invalid: expired": 10},
		CrowdedSeconds: 1,
	}
	printImport(&out, report, "taken in, as shared")
	want := `  130 events
   20 taken in, as shared
  100 duplicate: already have this KeyPackage
   10 refused: invalid: expired
    1 seconds of which the relay may have more than it sends at once: import again with -authors
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	out.Reset()
	if printImport(&out, importing.Report{}, ""); !strings.HasPrefix(out.String(), "no KeyPackages") {
		t.Errorf("of nothing: %q", &out)
	}
}
