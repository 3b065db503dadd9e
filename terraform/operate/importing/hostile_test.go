package importing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

// script is what a relay answers to a REQ: frames, in which %s stands for the subscription.
type script func(filter nostr.Filter) []string

// serve runs a relay that does as it likes.
func serve(t *testing.T, answer script) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			_, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			var req nostr.ReqEnvelope
			if req.FromJSON(string(message)) != nil {
				continue // CLOSE
			}
			for _, frame := range answer(req.Filters[0]) {
				frame = strings.ReplaceAll(frame, "%s", req.SubscriptionID)
				if conn.Write(r.Context(), websocket.MessageText, []byte(frame)) != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// taker takes in everything.
type taker struct{ err error }

func (t taker) KeyPackage(context.Context, publishing.Event, bool) (publishing.Answer, error) {
	return publishing.Answer{Accepted: t.err == nil}, t.err
}

func from(t *testing.T, answer script) (importing.Report, error) {
	t.Helper()
	return importing.Run(t.Context(), taker{}.KeyPackage, importing.Options{From: serve(t, answer), Progress: func(importing.Report) {}})
}

const eose = `["EOSE","%s"]`

func eventFrame(raw string) string { return `["EVENT","%s",` + raw + `]` }

// signed is an event that need not hold a KeyPackage: whether it does is for the publisher to say.
func signed(t *testing.T, kind int, created nostr.Timestamp, content string) *nostr.Event {
	t.Helper()
	e := &nostr.Event{Kind: kind, CreatedAt: created, Content: content, Tags: nostr.Tags{}}
	if err := actors.NewKey().Sign(e); err != nil {
		t.Fatal(err)
	}
	return e
}

// until answers as a relay does that has these events and sends at most so many at once.
func until(events []*nostr.Event, most int) script {
	return func(filter nostr.Filter) []string {
		var frames []string
		for _, e := range events {
			if (filter.Until == nil || e.CreatedAt <= *filter.Until) && len(frames) < min(most, filter.Limit) {
				frames = append(frames, eventFrame(e.String()))
			}
		}
		return append(frames, eose)
	}
}

func TestForgedAndForeignEventsAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	good := signed(t, keypackage.KindKeyPackage, 1000, "good")
	forged, renamed := *good, *good
	forged.Sig, forged.CreatedAt = strings.Repeat("0", 128), 900
	forged.ID = forged.GetID()
	renamed.ID, renamed.CreatedAt = strings.Repeat("0", 64), 800
	older := signed(t, keypackage.KindKeyPackage, 700, "older")
	large := signed(t, keypackage.KindKeyPackage, 650, strings.Repeat("x", keypackage.MaxEventBytes))
	note := signed(t, nostr.KindTextNote, 600, "hello")
	answer := until([]*nostr.Event{good, &forged, &renamed, older, large, note}, 100)
	report, err := from(t, func(f nostr.Filter) []string {
		if f.Until == nil {
			return append([]string{"no JSON", `["NOTICE"]`, `["NOTICE","hello"]`, eventFrame(`{"id":7}`)}, answer(f)...)
		}
		if *f.Until < 700 {
			return []string{eose}
		}
		return answer(f)
	})
	if err != nil || report.Taken != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, want := range []error{
		keypackage.ErrEventSignature, keypackage.ErrEventID, keypackage.ErrEventTooLarge, keypackage.ErrEventMalformed,
		errors.New("not what the relay was asked for"),
	} {
		if report.Refused["invalid: "+want.Error()] == 0 {
			t.Errorf("nothing is refused because %v: %v", want, report.Refused)
		}
	}
}

// A relay's page ends in the middle of a second, and is smaller than what it was asked for.
func TestNothingIsLostWherePagesMeet(t *testing.T) {
	t.Parallel()
	var events []*nostr.Event
	for i := range 50 {
		events = append(events, signed(t, keypackage.KindKeyPackage, nostr.Timestamp(1000-i/4), fmt.Sprint(i)))
	}
	report, err := from(t, until(events, 7))
	if err != nil || report.Taken != 50 || report.Seen != 50 || report.CrowdedSeconds != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestASecondWithMoreThanAPageIsReported(t *testing.T) {
	t.Parallel()
	var events []*nostr.Event
	for i := range 120 {
		events = append(events, signed(t, keypackage.KindKeyPackage, 1000, fmt.Sprint(i)))
	}
	events = append(events, signed(t, keypackage.KindKeyPackage, 900, "older"))
	report, err := from(t, until(events, 500))
	if err != nil || report.Taken != 101 || report.CrowdedSeconds != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestARelayThatIgnoresTheLimit(t *testing.T) {
	t.Parallel()
	var frames []string
	for i := range 250 {
		frames = append(frames, eventFrame(signed(t, keypackage.KindKeyPackage, nostr.Timestamp(1000+i), "").String())) // oldest first
	}
	report, err := from(t, func(f nostr.Filter) []string {
		if f.Until != nil && *f.Until < 1000 {
			return []string{eose}
		}
		return append(frames[:len(frames):len(frames)], eose)
	})
	if err != nil || report.Taken != 250 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestARelayWithoutEndIsLeft(t *testing.T) {
	t.Parallel()
	same, unreadable := eventFrame(signed(t, keypackage.KindKeyPackage, 1000, "").String()), eventFrame(`{"id":7}`)
	for what, answer := range map[string]script{
		"more than 10000 events": func(nostr.Filter) []string { return strings.Split(strings.Repeat(unreadable+"\n", 10_001), "\n") },
		"cannot be read further": func(nostr.Filter) []string { return []string{same, eose} }, // whatever the filter says
		"refuses":                func(nostr.Filter) []string { return []string{`["CLOSED","%s","blocked: go away"]`} },
		"lost":                   func(nostr.Filter) []string { return []string{`"` + strings.Repeat("x", 2<<20) + `"`} },
	} {
		if _, err := from(t, answer); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAFailureEndsTheImport(t *testing.T) {
	t.Parallel()
	broken := errors.New("the database is away")
	url := serve(t, until([]*nostr.Event{signed(t, keypackage.KindKeyPackage, 1000, "")}, 100))
	report, err := importing.Run(t.Context(), taker{broken}.KeyPackage, importing.Options{From: url})
	if !errors.Is(err, broken) || report.Seen != 1 || report.Taken != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if text, _ := json.Marshal(report); !strings.Contains(string(text), `"taken":0`) {
		t.Errorf("as JSON: %s", text)
	}
}
