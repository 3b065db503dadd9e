package wire_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
)

func TestLabels(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]string{
		`["EVENT",{}]`: "EVENT", ` [ "REQ" , "a" ]`: "REQ", `["\u0052EQ","a"]`: "REQ", `["NEG-MSG",`: "NEG-MSG", `["x"`: "x",
		`["req","a"]`: "", `["Event"]`: "", `["R\u00c9Q"]`: "RÉQ", `{"EVENT":1}`: "", `[]`: "", `[1]`: "", `[["EVENT"]]`: "", ``: "", `EVENT`: "",
		`[,"REQ"]`: "", "\ufeff[\"REQ\"]": "", `["REQ\ud800"]`: "", "[\"REQ\xff\"]": "", `["clo\u017fe"]`: "",
	} {
		got, err := wire.Label([]byte(frame))
		if got != want || (want == "") != errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: %q, %v; want %q", frame, got, err, want)
		}
	}
}

func TestElementsAreTheBytesThatCame(t *testing.T) {
	t.Parallel()
	e, err := wire.Split([]byte(" [\"REQ\" , \"\\u0061\",{ \"kinds\":[ 1 ],\t\"x\" : \"\\/\"} ,[] ]\n"))
	if err != nil || len(e) != 3 || string(e[1]) != "{ \"kinds\":[ 1 ],\t\"x\" : \"\\/\"}" || string(e[2]) != "[]" {
		t.Fatalf("got %q, %v", e, err)
	}
	if id, ok := e.Text(0); !ok || id != "a" {
		t.Errorf("id %q", id)
	}
	if _, ok := e.Text(1); ok {
		t.Error("an object is no text")
	}
	if e.Object(9) != nil {
		t.Error("there is no tenth element")
	}
}

// An id that cannot be read is none: an OK for what it would be replaced by would answer nobody.
func TestWhatCannotBeReadIsNoID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{`"\ud800"`, "\"\xff\"", `7`} {
		e, err := wire.SplitLoosely([]byte(`["EVENT",{"id":` + id + `},` + id + `]`))
		if err != nil {
			t.Fatal(err)
		}
		text, ok := e.Text(1)
		if got := wire.ID(e.Object(0)); got != "" || text != "" || ok {
			t.Errorf("%q is read as %q and %q, %v", id, got, text, ok)
		}
	}
}

func TestWhatIsNotIJSONIsNotSplit(t *testing.T) {
	t.Parallel()
	for frame, loosely := range map[string]bool{
		`["EVENT",{"a":1,"a":2}]`: true, `["EVENT","\ud800"]`: true, "[\"EVENT\",\"\xff\"]": true, `["EVENT",{}]`: true,
		`["EVENT",{}] []`: false, `["EVENT",{},]`: false, `["EVENT",{}`: false, `["EVENT",{"a":01}]`: false, `["EVENT",NaN]`: false,
		`["EVENT",'a']`: false, `[]`: false, `{}`: false, ``: false, `["EVENT"]/**/`: false,
	} {
		_, err := wire.SplitLoosely([]byte(frame))
		if (err == nil) != loosely {
			t.Errorf("loosely, %s: %v", frame, err)
		}
		if _, err = wire.Split([]byte(frame)); (err == nil) != (frame == `["EVENT",{}]`) {
			t.Errorf("%s: %v", frame, err)
		}
	}
}

func TestKindIsReadInOneWay(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]int{
		`{"kind":443}`: 443, `{"k":{"kind":1},"kind":65535}`: 65535, `{"\u006bind":0}`: 0, `{"kind":1,"content":"\ud800","content":1}`: 1,
		`{"kind":443,"kind":443}`: -1, `{"kind":1,"KIND":443}`: -1, `{"Kind":1}`: -1, `{"kind":1,"\u212aind":443}`: -1,
		`{"kind":443.0}`: -1, `{"kind":4.43e2}`: -1, `{"kind":"443"}`: -1, `{"kind":null}`: -1, `{"kind":-1}`: -1, `{"kind":65536}`: -1,
		`{}`: -1, `{"kinds":1}`: -1, `[]`: -1, ``: -1,
	} {
		got, ok := wire.Kind(jsontext.Value(event))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%s: %d, %v", event, got, ok)
		}
	}
}

func filter(t *testing.T, raw string) wire.Filter {
	t.Helper()
	f, err := wire.ParseFilter(jsontext.Value(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return f
}

func TestFiltersThatSomeWouldReadOtherwise(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{"kinds":[443.0]}`, `{"kinds":["443"]}`, `{"kinds":443}`, `{"kinds":[4.43e2]}`, `{"kinds":null}`, `{"kinds":[null]}`, `{"kinds":[-1]}`,
		`{"kinds":[65979]}`, `{"kinds":[1],"kinds":[443]}`, `{"Kinds":[443]}`, `{"kinds":[1],"KINDS":[443]}`, `{"\u212ainds":[443]}`,
		`{"authors":[1]}`, `{"authors":"a"}`, `{"authors":[null]}`, `{"limit":"1"}`, `{"limit":-1}`, `{"limit":1.5}`, `{"since":null}`,
		`{"until":1e3}`, `{"ids":{}}`, `{"authors":["\ud800"]}`, `{`, ``, `[]`, `"x"`, `null`,
	} {
		if _, err := wire.ParseFilter(jsontext.Value(raw)); !errors.Is(err, wire.ErrFilter) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestOnlyTheKindsAreTakenOut(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{ "x" : {"kinds":[443]}, "kinds" : [ 443 , 1 ,447, 30443 ],"limit":5 , "y":"\/"}`: `{ "x" : {"kinds":[443]}, "kinds" : [1,30443],"limit":5 , "y":"\/"}`,
		`{"\u006binds":[1,443]}`: `{"\u006binds":[1]}`, `{"kinds":[1, 2]}`: `{"kinds":[1, 2]}`, `{"ids":[]}`: `{"ids":[]}`, `{"kinds":[]}`: `{"kinds":[]}`,
		`{"kinds":[443],"#k":["1"]}`: "", `{"kinds":[443,447]}`: "",
	} {
		got, left := filter(t, raw).Without(443, 447)
		if string(got) != want || left != (want != "") {
			t.Errorf("%s: %s, %v", raw, got, left)
		}
	}
}

func TestMatchesLikeGoNostrButForLimits(t *testing.T) {
	t.Parallel()
	event := &nostr.Event{ID: "i", PubKey: "a", Kind: 443, CreatedAt: 100, Tags: nostr.Tags{{"e", "x"}, {"p", "y"}}}
	for raw, want := range map[string]bool{
		`{}`: true, `{"limit":0}`: true, `{"kinds":[443],"authors":["a"],"ids":["i"],"since":100,"until":100,"#e":["z","x"],"#p":["y"]}`: true,
		`{"kinds":[1]}`: false, `{"kinds":[]}`: false, `{"authors":[]}`: false, `{"ids":[]}`: false, `{"since":101}`: false, `{"until":99}`: false,
		`{"#e":["y"]}`: false, `{"#e":[]}`: false, `{"#e":["x"],"#t":["y"]}`: false,
	} {
		f := filter(t, raw)
		if f.Matches(event) != want || f.Condition().Matches(event) != want {
			t.Errorf("%s: %v", raw, !want)
		}
		var other nostr.Filter
		if err := json.Unmarshal([]byte(raw), &other); err != nil {
			t.Fatal(err)
		}
		if other.Matches(event) != want {
			t.Errorf("%s: go-nostr says otherwise", raw)
		}
	}
	for _, raw := range []string{`{"search":"x"}`, `{"&e":["x"]}`, `{"#e":"x"}`, `{"x":1}`} {
		if filter(t, raw).Matches(event) {
			t.Errorf("%s: it is not known to be satisfied", raw)
		}
	}
}

func TestWhatARequestWasGrantedSatisfiesAFilterForIt(t *testing.T) {
	t.Parallel()
	event := &nostr.Event{ID: "i", PubKey: "a", Kind: 443, Tags: nostr.Tags{{"p", "y"}}}
	for raw, want := range map[string]bool{
		`{"kinds":[443],"#e":["x","r"]}`: true, `{"#e":["r"],"#p":["y"]}`: true, `{"#e":["x"]}`: false, `{"#p":["r"]}`: false, `{"#e":["r"],"#p":["x"]}`: false,
		`{"kinds":[1],"#e":["r"]}`: false, `{"#e":"r"}`: false,
	} {
		if filter(t, raw).Matches(event, "q", "r") != want || filter(t, raw).Matches(event) {
			t.Errorf("%s: %v", raw, !want)
		}
	}
}

func TestWhatAFilterSays(t *testing.T) {
	t.Parallel()
	f := filter(t, `{"kinds":[443,30443],"authors":["a"],"limit":7}`)
	if !f.AsksByAuthorAlone() || !slices.Equal(f.Authors, []string{"a"}) || !f.Condition().Names(30443) ||
		!f.NamesOnly(443, 30443, 447) || f.NamesOnly(443) || f.OnlyNew() || f.Most(500) != 7 || f.Most(5) != 5 {
		t.Errorf("%s is misread", `{"kinds":[443,30443],"authors":["a"],"limit":7}`)
	}
	for _, raw := range []string{
		`{"kinds":[443]}`, `{"authors":["a"]}`, `{"kinds":[443],"authors":["a"],"since":1}`, `{"kinds":[443],"authors":["a"],"ids":[]}`,
		`{"kinds":[443],"authors":["a"],"#e":["x"]}`, `{"kinds":[443],"authors":["a"],"until":9}`, `{"kinds":[443],"authors":["a"],"search":""}`,
	} {
		if filter(t, raw).AsksByAuthorAlone() {
			t.Errorf("%s asks for more than authors", raw)
		}
	}
	if !filter(t, `{"limit":0}`).OnlyNew() || filter(t, `{}`).OnlyNew() || filter(t, `{}`).Most(500) != 500 || filter(t, `{}`).Kinds != nil {
		t.Error("limits are misread")
	}
}

func TestAnswersAreJSON(t *testing.T) {
	t.Parallel()
	odd := "\"\\\n\xff\u2028é"
	want := "\"\\\n\ufffd\u2028é"
	for label, frame := range map[string][]byte{
		"OK": wire.OK(odd, true, odd), "EOSE": wire.Message("EOSE", odd), "CLOSED": wire.Message("CLOSED", odd, odd), "EVENT": wire.Event(odd, `{}`), "REQ": wire.Req(odd, []jsontext.Value{jsontext.Value(`{}`)}),
	} {
		var parts []any
		if err := json.Unmarshal(frame, &parts); err != nil || parts[0] != label || parts[1] != want {
			t.Errorf("%s: %s, %v", label, frame, err)
		}
	}
}
