package keypackage_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// respelling rewrites the JSON of a signed event with the content, no tags but one, and the given name in it, so that some
// parsers still read what was signed and others read something else, or nothing.
type respelling struct{ old, new string }

// respellings returns what is wrong with each. The events that they apply to have the content "content" and the tag
// ["t","\ufffd"]; those of tagless events come second.
func respellings() (tagged, tagless map[string]respelling) {
	tagged = map[string]respelling{
		"a null among the tags":       {`["t","`, `["client",null],["t","`},
		"a null for a tag":            {`"tags":[`, `"tags":[null,`},
		"a tag that is a string":      {`"tags":[`, `"tags":["t",`},
		"a number in a tag":           {`["t","`, `["t",1],["t","`},
		"a name in another case":      {`"pubkey"`, `"PubKey"`},
		"the same in another case":    {`"content":`, `"content":"junk","CONTENT":`},
		"the other in another case":   {`"content":`, `"CONTENT":"junk","content":`},
		"a name with a long s":        {`"sig":`, "\"\u017fig\":\"\",\"sig\":"},
		"a repeated name":             {`"content":`, `"content":"junk","content":`},
		"a repeated escaped name":     {`"content":`, `"c\u006fntent":"junk","content":`},
		"a lone surrogate":            {"\ufffd", `\ud800`},
		"invalid UTF-8":               {"\ufffd", "\xff"},
		"a fraction":                  {`"created_at":`, `"created_at":0.0,"x":`},
		"a time as a decimal":         {`,"kind"`, `.0,"kind"`},
		"a time in exponents":         {`,"kind"`, `e0,"kind"`},
		"a kind as a decimal":         {`,"tags"`, `.0,"tags"`},
		"a null that nobody asks for": {`{"`, `{"x":null,"`},
		"a null further down":         {`{"`, `{"x":[{"y":null}],"`},
		"a repeated name elsewhere":   {`{"`, `{"x":{"y":1,"y":2},"`},
		"something behind it":         {`"}`, `"}{}`},
		"a trailing comma":            {`"}`, `",}`},
	}
	for _, name := range []string{"id", "pubkey", "created_at", "kind", "tags", "content", "sig"} {
		tagged["no "+name] = respelling{fmt.Sprintf("%q:", name), `"x":`}
	}
	tagless = map[string]respelling{
		"null for tags": {`"tags":[]`, `"tags":null`},
		"tags are gone": {`"tags":[],`, ``},
	}
	return tagged, tagless
}

// plain writes an event as NIP-01 does, so that a respelling finds its place.
func plain(e *nostr.Event) string {
	tags := "[]"
	if len(e.Tags) > 0 {
		tags = fmt.Sprintf(`[["t","%s"]]`, e.Tags[0][1])
	}
	return fmt.Sprintf(`{"id":"%s","pubkey":"%s","created_at":%d,"kind":%d,"tags":%s,"content":"%s","sig":"%s"}`,
		e.ID, e.PubKey, e.CreatedAt, e.Kind, tags, e.Content, e.Sig)
}

// respelled calls check with the good event and then with every wrong spelling of it.
func respelled(t *testing.T, kind int, content string, check func(name string, event *nostr.Event, raw string, good bool)) {
	t.Helper()
	tagged, tagless := respellings()
	for _, of := range []struct {
		event  *nostr.Event
		spells map[string]respelling
	}{
		{bob.sign(t, kind, content, nostr.Tag{"t", "\ufffd"}), tagged},
		{bob.sign(t, kind, content), tagless},
	} {
		raw := plain(of.event)
		check("as signed", of.event, raw, true)
		for name, spelling := range of.spells {
			wrong := strings.Replace(raw, spelling.old, spelling.new, 1)
			if wrong == raw {
				t.Fatalf("%s: nothing was rewritten", name)
			}
			check(name, of.event, wrong, false)
		}
	}
}

func TestWhatParsersReadDifferentlyIsNoKeyPackage(t *testing.T) {
	t.Parallel()
	respelled(t, keypackage.KindKeyPackage, inHex(keyPackage(t, 1, nil)), func(name string, event *nostr.Event, raw string, good bool) {
		id, doc := published(event)
		doc["event"] = raw
		want := ""
		if !good {
			want = keypackage.FlawEvent
		}
		if got := keypackage.Inspect(id, doc, keypackage.PolicyStrict); got.Flaw != want {
			t.Errorf("%s: flaw %q, want %q", name, got.Flaw, want)
		}
	})
}

func TestWhatParsersReadDifferentlyIsNoRequest(t *testing.T) {
	t.Parallel()
	respelled(t, keypackage.KindRequest, "", func(name string, event *nostr.Event, raw string, good bool) {
		doc := stored(event)
		doc.Event = raw
		want := keypackage.RejectNoOwner
		if !good {
			want = keypackage.RejectMalformedEvent
		}
		if _, err := keypackage.ParseRequest(doc, maxMin); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	})
}

// What only some implementations can hold is read by nobody.
func TestNumbersThatNotEveryParserCanHold(t *testing.T) {
	t.Parallel()
	const event = `{"id":"%s","pubkey":"%s","created_at":%s,"kind":%s,"tags":[],"content":"","sig":"%s"}`
	parse := func(created, kind string) error {
		_, err := keypackage.ParseEvent(fmt.Appendf(nil, event, alice.pubkey, bob.pubkey, created, kind, alice.pubkey+bob.pubkey))
		return err
	}
	for _, good := range [][2]string{{"0", "0"}, {"9007199254740991", "65535"}} {
		if err := parse(good[0], good[1]); err != nil {
			t.Errorf("created_at %s, kind %s: %v", good[0], good[1], err)
		}
	}
	for _, bad := range [][2]string{
		{"-1", "1"}, {"-0", "1"}, {"9007199254740992", "1"}, {"99999999999999999999", "1"}, {`"1"`, "1"},
		{"1", "-1"}, {"1", "65536"}, {"1", "4.43e2"}, {"1", `"443"`}, {"1", "true"},
	} {
		if err := parse(bad[0], bad[1]); !errors.Is(err, keypackage.ErrEventMalformed) {
			t.Errorf("created_at %s, kind %s: %v, want %v", bad[0], bad[1], err, keypackage.ErrEventMalformed)
		}
	}
}

func TestIdentifiersAreWrittenInOneWay(t *testing.T) {
	t.Parallel()
	event := bob.sign(t, 1, "")
	raw := plain(event)
	for value, want := range map[string]error{
		event.ID: keypackage.ErrEventID, event.PubKey: keypackage.ErrEventMalformed, event.Sig: keypackage.ErrEventSignature,
	} {
		for _, wrong := range []string{strings.ToUpper(value), value[2:], value + "00", ""} {
			if _, err := keypackage.VerifyEvent(strings.Replace(raw, value, wrong, 1)); !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", wrong, err, want)
			}
		}
	}
}

func TestErrorsOfAnEventRepeatNothingOfIt(t *testing.T) {
	t.Parallel()
	_, err := keypackage.ParseEvent([]byte(`{"id":"secret","secret":"secret","tags":"secret"}`))
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
