package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
)

// FuzzFrame compares what is read of a frame with what parsers see in it that forgive more: whatever they make of the rest, the
// kind by which the gateway decides must be theirs, too.
func FuzzFrame(f *testing.F) {
	for _, frame := range []string{
		`["EVENT",{"kind":443}]`, `["EVENT","a",{"kind":1,"KIND":443,"content":"\ud800"}]`, `["EVENT",{"kind":1,"kind":443}]`, `["REQ","a",{"kinds":[1,443]}]`,
		`["EVENT",{"\u006bind":1e0}]`, "[\"EVENT\",{\"k\xffind\":1}]", `["CLOSE"]`, `[[]]`,
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		loosely, err := wire.SplitLoosely(frame)
		if err != nil {
			if _, err := wire.Split(frame); err == nil {
				t.Fatal("what is read strictly is not read loosely")
			}
			return
		}
		var parts []json.RawMessage
		if json.Unmarshal(frame, &parts) != nil || len(parts) != len(loosely)+1 {
			t.Fatalf("encoding/json sees %d elements, not %d", len(parts), len(loosely)+1)
		}
		for i := range loosely {
			object := loosely.Object(i)
			if object == nil {
				continue
			}
			checkKind(t, object)
			checkFilter(t, object)
		}
	})
}

func checkKind(t *testing.T, object jsontext.Value) {
	kind, ok := wire.Kind(object)
	if !ok {
		return
	}
	var forgiving struct{ Kind int }
	if json.Unmarshal(object, &forgiving) == nil && forgiving.Kind != kind {
		t.Errorf("encoding/json reads kind %d, not %d", forgiving.Kind, kind)
	}
	var event nostr.Event
	if event.UnmarshalJSON(object) == nil && event.Kind != kind {
		t.Errorf("go-nostr reads kind %d, not %d", event.Kind, kind)
	}
}

// checkFilter checks that no parser finds one of our kinds in what goes upstream.
func checkFilter(t *testing.T, object jsontext.Value) {
	filter, err := wire.ParseFilter(object)
	if err != nil {
		return
	}
	rest, left := filter.Without(443, 447)
	if !left {
		return
	}
	var forgiving struct{ Kinds []int }
	var strict nostr.Filter
	if json.Unmarshal(rest, &forgiving) != nil || strict.UnmarshalJSON(rest) != nil {
		return
	}
	for _, kind := range append(forgiving.Kinds, strict.Kinds...) {
		if kind == 443 || kind == 447 {
			t.Errorf("kind %d goes upstream in %q", kind, rest)
		}
	}
}
