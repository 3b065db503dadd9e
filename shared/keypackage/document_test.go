package keypackage_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Everything that can be wrong with a request document, and whether the requester may be told.
func TestRejectedDocuments(t *testing.T) {
	t.Parallel()
	good := request(t, p(bob.pubkey))
	event := alice.sign(t, keypackage.KindRequest, "", p(bob.pubkey))
	other := alice.sign(t, keypackage.KindRequest, "other", p(bob.pubkey))
	with := func(edit func(*nostr.Event)) string {
		changed := *event
		edit(&changed)
		return encode(&changed)
	}
	for name, tt := range map[string]struct {
		event     string
		want      keypackage.Rejection
		authentic bool
	}{
		"no event":        {"", keypackage.RejectMalformedDocument, false},
		"rubbish":         {"\x00\xff", keypackage.RejectMalformedEvent, false},
		"truncated":       {good.Event[:len(good.Event)-1], keypackage.RejectMalformedEvent, false},
		"followed by":     {good.Event + "{}", keypackage.RejectMalformedEvent, false},
		"an array":        {"[1,2]", keypackage.RejectMalformedEvent, false},
		"a string":        {`"event"`, keypackage.RejectMalformedEvent, false},
		"null":            {"null", keypackage.RejectMalformedEvent, false},
		"empty object":    {"{}", keypackage.RejectMalformedEvent, false},
		"wrong type":      {strings.Replace(good.Event, `"kind":447`, `"kind":"447"`, 1), keypackage.RejectMalformedEvent, false},
		"tags no strings": {strings.Replace(good.Event, `["p",`, `["p",1,`, 1), keypackage.RejectMalformedEvent, false},
		"nested deeply":   {strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000), keypackage.RejectMalformedEvent, false},
		"600 KB":          {`{"content":"` + strings.Repeat("a", 600<<10) + `"}`, keypackage.RejectTooLarge, false},
		"another id":      {with(func(e *nostr.Event) { e.ID = other.ID }), keypackage.RejectWrongID, false},
		"id in upper case": {
			with(func(e *nostr.Event) { e.ID = strings.ToUpper(e.ID) }), keypackage.RejectWrongID, false,
		},
		"changed, id kept": {with(func(e *nostr.Event) { e.Content = "x" }), keypackage.RejectWrongID, false},
		"changed, id anew": {
			with(func(e *nostr.Event) { e.Content = "x"; e.ID = e.GetID() }), keypackage.RejectBadSignature, false,
		},
		"another's signature": {with(func(e *nostr.Event) { e.Sig = other.Sig }), keypackage.RejectBadSignature, false},
		"no signature":        {with(func(e *nostr.Event) { e.Sig = "" }), keypackage.RejectMalformedEvent, false},
		"another's key": {
			with(func(e *nostr.Event) { e.PubKey = bob.pubkey; e.ID = e.GetID() }), keypackage.RejectBadSignature, false,
		},
		"key in upper case": {upperCase, keypackage.RejectMalformedEvent, false},
		"another event":     {encode(other), keypackage.RejectDocumentID, false},
	} {
		doc := good
		doc.Event = tt.event
		_, err := keypackage.ParseRequest(doc, maxMin)
		if !errors.Is(err, tt.want) || tt.want.Authentic() != tt.authentic {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), event.Sig) {
			t.Errorf("%s: the error repeats the event", name)
		}
	}
}

// upperCase is a request of Alice for Alice, signed by her under her public key in upper case.
const upperCase = `{"kind":447,"id":"63d2f17e35cb3a23778e02e9ac1547ed65a5d7396319855870e458a74d2e8603",` +
	`"pubkey":"79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798","created_at":1795435200,` +
	`"tags":[["p","79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"]],"content":"",` +
	`"sig":"d32fb99221c61ef66c7b0d091d7a36fddc08ce4dcb7f6ca5e6ef8e2339328c34` +
	`c3a6255350f156102ad78b9e89e8007c4af233842406d50c8ea6087f166d203b"}`

// The library takes the key in upper case; one person would be many, and her own owner.
func TestUpperCaseKeyIsSigned(t *testing.T) {
	t.Parallel()
	var event nostr.Event
	if err := json.Unmarshal([]byte(upperCase), &event); err != nil {
		t.Fatal(err)
	}
	if ok, err := event.CheckSignature(); !ok || !event.CheckID() || !strings.EqualFold(event.PubKey, alice.pubkey) {
		t.Errorf("not what the test needs: %v, %v", ok, err)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	request := alice.sign(t, keypackage.KindRequest, "", p(bob.pubkey))
	note := alice.sign(t, 1, "hello", p(bob.pubkey))
	for name, tt := range map[string]struct {
		event   *nostr.Event
		kind    int64
		hasKind bool
		want    error
	}{
		"a request":                       {request, 447, true, nil},
		"a request, document says less":   {request, 0, false, nil},
		"another kind":                    {note, 1, true, keypackage.ErrOtherKind},
		"another kind, unsaid":            {note, 0, false, keypackage.ErrOtherKind},
		"a request, said to be another":   {request, 1, true, keypackage.ErrOtherKind},
		"another kind, said a request":    {note, 447, true, keypackage.RejectWrongKind},
		"a kind-443 said to be a request": {bob.sign(t, 443, "x"), 447, true, keypackage.RejectWrongKind},
	} {
		doc := stored(tt.event)
		doc.Kind, doc.HasKind = tt.kind, tt.hasKind
		req, err := keypackage.ParseRequest(doc, maxMin)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if errors.Is(tt.want, keypackage.RejectWrongKind) && req == nil {
			t.Errorf("%s: the signature is right, so there is somebody to tell", name)
		}
		if _, isRequest := doc.Unverified(); isRequest == errors.Is(tt.want, keypackage.ErrOtherKind) {
			t.Errorf("%s: Unverified says isRequest = %v", name, isRequest)
		}
	}
}

func TestReadRequestDocument(t *testing.T) {
	t.Parallel()
	created := now.Add(-time.Minute)
	full := keypackage.ReadRequestDocument("id", map[string]any{
		"event": "{}", "kind": int64(447), "received_at": now, "pubkey": 17, "open": int64(keypackage.Shards - 1),
		"gateway": true,
	}, created)
	if full != (keypackage.RequestDocument{ID: "id", Event: "{}", Kind: 447, HasKind: true, ReceivedAt: now, Marked: true, Gateway: true}) {
		t.Errorf("full document: %+v", full)
	}
	wrong := keypackage.ReadRequestDocument("id", map[string]any{
		"event": []any{"{}"}, "kind": "447", "received_at": now.Unix(), "open": "1", "gateway": 1,
	}, created)
	if wrong != (keypackage.RequestDocument{ID: "id", ReceivedAt: created}) {
		t.Errorf("fields of wrong types: %+v", wrong)
	}
	if got := keypackage.ReadRequestDocument("id", nil, created); got != (keypackage.RequestDocument{ID: "id", ReceivedAt: created}) {
		t.Errorf("no fields: %+v", got)
	}
}

// A mark is an integer from 0 to Shards-1. Anything else is not found by it.
func TestMarks(t *testing.T) {
	t.Parallel()
	for value, want := range map[any]bool{
		int64(0): true, int64(keypackage.NewMark()): true, int64(keypackage.Shards - 1): true,
		int64(-1): false, int64(keypackage.Shards): false, 1.0: false, true: false, nil: false,
	} {
		if doc := keypackage.ReadRequestDocument("id", map[string]any{"open": value, "received_at": now}, now); doc.Marked != want {
			t.Errorf("open %v (%[1]T): marked %v", value, doc.Marked)
		}
	}
	// The query that looks for marks is also one for the time of receipt.
	for _, received := range []any{nil, now.Unix(), now.String()} {
		if doc := keypackage.ReadRequestDocument("id", map[string]any{"open": int64(0), "received_at": received}, now); doc.Marked {
			t.Errorf("received_at %v: nobody finds it, but it counts as marked", received)
		}
	}
}

func TestUntimely(t *testing.T) {
	t.Parallel()
	const maxAge = 15 * time.Minute
	for name, tt := range map[string]struct {
		created, received time.Duration // from now
		ttl               string
		want              keypackage.Rejection
	}{
		"of now":                            {0, 0, "60", ""},
		"15 minutes ahead":                  {15 * time.Minute, 0, "60", ""},
		"a second more":                     {15*time.Minute + time.Second, 0, "60", keypackage.RejectFuture},
		"far ahead":                         {10_000 * time.Hour, 0, "60", keypackage.RejectFuture},
		"its last second":                   {-59 * time.Second, 0, "60", ""},
		"its end":                           {-60 * time.Second, 0, "60", keypackage.RejectExpired},
		"a week old":                        {-7 * 24 * time.Hour, 0, "", keypackage.RejectExpired},
		"nearly a week old":                 {-7*24*time.Hour + time.Second, 0, "", ""},
		"taken up at the last moment":       {-time.Hour, -maxAge, "", ""},
		"taken up too late":                 {-time.Hour, -maxAge - time.Second, "", keypackage.RejectStale},
		"received by a clock that is ahead": {0, time.Hour, "", ""},
	} {
		event := &nostr.Event{Kind: 447, CreatedAt: nostr.Timestamp(now.Add(tt.created).Unix()), Tags: nostr.Tags{p(bob.pubkey)}}
		if tt.ttl != "" {
			event.Tags = append(event.Tags, nostr.Tag{"ttl", tt.ttl})
		}
		if err := event.Sign(alice.secret); err != nil {
			t.Fatal(err)
		}
		doc := stored(event)
		doc.ReceivedAt = now.Add(tt.received)
		req, err := keypackage.ParseRequest(doc, maxMin)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := req.Untimely(now, maxAge); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// The ids that Unverified names are those of the claims that a valid request gets.
func TestUnverifiedNamesTheUnits(t *testing.T) {
	t.Parallel()
	doc := request(t, p(bob.pubkey), p(carol.pubkey), p(bob.pubkey))
	units, isRequest := doc.Unverified()
	if !isRequest || len(units) != 2 || units[0] != doc.ID+"_"+bob.pubkey || units[1] != doc.ID+"_"+carol.pubkey {
		t.Errorf("got %v, %v", units, isRequest)
	}
	for name, event := range map[string]string{"rubbish": "x", "no owner": encode(alice.sign(t, 447, ""))} {
		doc.Event = event
		if units, isRequest := doc.Unverified(); !isRequest || len(units) > 0 {
			t.Errorf("%s: got %v, %v; want a request that only a dismissal can answer", name, units, isRequest)
		}
	}
}

func TestJSONIsReadAsItIsSigned(t *testing.T) {
	t.Parallel()
	event := alice.sign(t, 447, "", p(bob.pubkey))
	var fields map[string]any
	if err := json.Unmarshal([]byte(encode(event)), &fields); err != nil {
		t.Fatal(err)
	}
	fields["seen_on"] = []string{"wss://relay.example"}
	spaced, err := json.MarshalIndent(fields, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keypackage.VerifyEvent(string(spaced)); err != nil || got.ID != event.ID {
		t.Errorf("another order, white space and an unknown field: %v", err)
	}
}
