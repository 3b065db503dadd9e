package claiming

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var dave = fmt.Sprintf("%064x", 0xda7e)

// post is a Publisher that remembers what was published.
type post struct {
	mu        sync.Mutex
	published []string
	err       error
}

func (p *post) PublishRequest(_ context.Context, a keypackage.Announcement) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.published = append(p.published, a.RequestID)
	}
	return p.err
}

// signed returns the document of a request that somebody signed now. The same number makes the same requester.
func signed(t testing.TB, requester int, tags ...nostr.Tag) keypackage.RequestDocument {
	t.Helper()
	event := &nostr.Event{Kind: keypackage.KindRequest, CreatedAt: nostr.Timestamp(now.Unix()), Tags: tags}
	if err := event.Sign(fmt.Sprintf("%064x", requester)); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return keypackage.RequestDocument{ID: event.ID, Event: string(raw), Kind: 447, HasKind: true, ReceivedAt: now, Marked: true}
}

var (
	forBob  = nostr.Tag{"p", bob}
	forDave = nostr.Tag{"p", dave}
	three   = nostr.Tag{"min", "3"}
)

// desk is a Claimer with everything around it.
type desk struct {
	*memory
	*post
	first *Claimer
	clock time.Time
}

func newDesk(t testing.TB, documents ...*keypackage.Candidate) *desk {
	d := &desk{memory: newMemory(t, documents...), post: &post{}, clock: now}
	d.first = d.claimer(keypackage.ModeDeliver)
	return d
}

// claimer returns another process on the same store.
func (d *desk) claimer(mode keypackage.Mode) *Claimer {
	settings := Settings{Limits: generous, Mode: mode, MaxPerOwner: 10, RequestMaxAge: 15 * time.Minute}
	return New(d.memory, d.post, settings, func() time.Time { return d.clock })
}

func claim(t testing.TB, c *Claimer, doc keypackage.RequestDocument) Result {
	t.Helper()
	result, err := c.Claim(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func recovered(t testing.TB, c *Claimer, doc keypackage.RequestDocument) Result {
	t.Helper()
	result, err := c.Recover(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// A repeated event is read by id and costs no message, once what it was granted has been pushed.
func TestRepetitionIsCheap(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob)
	claim(t, d.first, doc)
	for id, delivery := range d.deliveries {
		delivery.BeginPush(now, "holder", keypackage.Lease)
		d.deliveries[id] = delivery
	}
	var calls []string
	d.fault = func(call string, done bool) error {
		if !done {
			calls = append(calls, call)
		}
		return nil
	}
	if got := claim(t, d.first, doc); !got.Repeated || got.Granted != 1 || len(d.published) != 1 {
		t.Errorf("got %+v, published %v", got, d.published)
	}
	if want := []string{"Answers", "NeverPushed"}; !slices.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
}

// What fails in one of its units to the end is recorded as stale, without another look at the stock; before its end it is
// tried again.
func TestRecoverEndsWhatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, fresh(5)...)
		doc := signed(t, 1, forBob, forDave)
		d.fault = func(call string, _ bool) error {
			if d.clock.After(now) && call == "ReadStock" || call == "Commit "+dave && !d.clock.After(now) {
				return errAway
			}
			return nil
		}
		if _, err := d.first.Recover(t.Context(), doc); err == nil {
			t.Fatal("it was to fail for one owner")
		}
		d.clock = now.Add(16 * time.Minute)
		got := recovered(t, d.first, doc)
		if got.Outcome != keypackage.OutcomePartial || got.Granted != 1 || got.Reason != keypackage.ReasonStale || d.outcomes[doc.ID] != got.Outcome {
			t.Errorf("got %+v, noted %q", got, d.outcomes[doc.ID])
		}
	})
}

func TestTake(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob, three)
	d.clock = now.Add(2 * time.Second)
	want := Result{RequestID: doc.ID, Outcome: keypackage.OutcomeGranted, Granted: 3, Owners: 1, Age: 2 * time.Second}
	if got := claim(t, d.first, doc); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !slices.Equal(d.published, []string{doc.ID}) || d.outcomes[doc.ID] != keypackage.OutcomeGranted {
		t.Errorf("published %v, noted %q", d.published, d.outcomes[doc.ID])
	}
	answer, commits := d.answerOf(doc.ID), d.commits
	want.Repeated, want.Age = true, 0
	for range 3 {
		if got := claim(t, d.claimer(keypackage.ModeDeliver), doc); got != want {
			t.Errorf("again: %+v", got)
		}
	}
	if d.commits != commits || fmt.Sprint(d.answerOf(doc.ID)) != fmt.Sprint(answer) || len(d.deliveries) != 3 {
		t.Errorf("repeating the event changed what is recorded")
	}
	if len(d.published) != 4 {
		t.Errorf("the announcement is not repeated: %d", len(d.published))
	}
}

func TestOutcomeOfManyOwners(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob, forDave)
	if got := claim(t, d.first, doc); got.Outcome != keypackage.OutcomePartial || got.Granted != 1 || got.Owners != 1 || got.OutOfStock != 1 {
		t.Errorf("got %+v", got)
	}
	claims := d.answerOf(doc.ID).Claims
	if len(claims) != 2 || claims[0].Status != keypackage.StatusFull || claims[1].Status != keypackage.StatusNone {
		t.Errorf("recorded %+v", claims)
	}
}

// A request whose document has no mark is served, and said to have none: without its trigger nobody would have found it.
func TestMissingMarkIsTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob)
	doc.Marked = false
	if got := claim(t, d.first, doc); !got.Unmarked || got.Outcome != keypackage.OutcomeGranted {
		t.Errorf("got %+v", got)
	}
	doc.Kind = 1
	if got := claim(t, d.first, doc); got.Unmarked {
		t.Errorf("another kind needs no mark: %+v", got)
	}
}

// unknownMode is a switch that could not be read.
type unknownMode struct{}

func (unknownMode) Now(context.Context) (keypackage.Mode, error) { return keypackage.ModeOff, errAway }

// As long as the mode is not known nothing is claimed, and the event comes again.
func TestModeNotKnown(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	settings := Settings{Limits: generous, Mode: unknownMode{}, MaxPerOwner: 10, RequestMaxAge: 15 * time.Minute}
	claimer := New(d.memory, d.post, settings, func() time.Time { return d.clock })
	result, err := claimer.Claim(t.Context(), signed(t, 1, forBob))
	if !fault.IsRetryable(err) || result.Outcome != "" || len(d.claims)+len(d.dismissals)+d.commits > 0 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// What is not a request is left alone, and in mode off everything is.
func TestLeftAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	other := signed(t, 1, forBob)
	other.Kind = 1
	for name, result := range map[string]Result{
		"other kind": claim(t, d.first, other),
		"off":        claim(t, d.claimer(keypackage.ModeOff), signed(t, 1, forBob)),
	} {
		if result.Outcome != "" || result.Label() != "ignored" || result.Reason == "" {
			t.Errorf("%s: got %+v", name, result)
		}
	}
	if len(d.claims)+len(d.dismissals)+len(d.published)+len(d.outcomes) > 0 {
		t.Errorf("recorded %v %v, published %v", d.claims, d.dismissals, d.published)
	}
}

// Every rejected request has one dismissal, and costs nobody anything. Who signed it is told.
func TestRejected(t *testing.T) {
	t.Parallel()
	stale := signed(t, 1, forBob)
	stale.ReceivedAt = now.Add(-16 * time.Minute)
	forged := signed(t, 1, forBob)
	forged.Event = forged.Event[:len(forged.Event)-5] + `00"}`
	renamed := signed(t, 1, forBob)
	renamed.ID = "another"
	for _, tt := range []struct {
		doc    keypackage.RequestDocument
		reason keypackage.Rejection
		told   bool
	}{
		{signed(t, 1), keypackage.RejectNoOwner, true},
		{signed(t, 1, nostr.Tag{"p", "x"}), keypackage.RejectMalformedOwner, true},
		{stale, keypackage.RejectStale, true},
		{forged, keypackage.RejectBadSignature, false},
		{renamed, keypackage.RejectDocumentID, false},
		{keypackage.RequestDocument{ID: "rubbish", Event: "\xff", Kind: 447, HasKind: true, ReceivedAt: now}, keypackage.RejectMalformedEvent, false},
		{keypackage.RequestDocument{ID: "nothing", Kind: 447, HasKind: true, ReceivedAt: now}, keypackage.RejectMalformedDocument, false},
	} {
		d := newDesk(t, fresh(5)...)
		for range 2 {
			got := claim(t, d.first, tt.doc)
			if got.Outcome != keypackage.OutcomeRejected || got.Reason != string(tt.reason) || got.Granted != 0 {
				t.Errorf("%s: got %+v", tt.reason, got)
			}
		}
		answer := d.answerOf(tt.doc.ID)
		if answer.Dismissal == nil || answer.Dismissal.RequestID != tt.doc.ID || answer.Authentic() != tt.told {
			t.Errorf("%s: recorded %+v", tt.reason, answer)
		}
		if told := len(d.published) > 0; told != tt.told || d.outcomes[tt.doc.ID] != keypackage.OutcomeRejected {
			t.Errorf("%s: told %v, noted %q", tt.reason, told, d.outcomes[tt.doc.ID])
		}
		if d.commits > 0 || len(d.stock) != 5 {
			t.Errorf("%s: something was claimed", tt.reason)
		}
	}
}

// A request that was half answered before it became stale is answered to the end, or recorded as too late.
func TestHalfAnswered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		later  time.Duration
		want   keypackage.Outcome
		reason string
	}{
		"still valid": {time.Hour, keypackage.OutcomeGranted, ""},
		"over":        {8 * 24 * time.Hour, keypackage.OutcomePartial, keypackage.ReasonStale},
	} {
		daves := candidate("d1", 1, func(c *keypackage.Candidate) { c.Owner = dave })
		d := newDesk(t, append(fresh(5), daves)...)
		doc := signed(t, 1, forBob, forDave)
		d.fault = func(call string, _ bool) error {
			if call == "Commit "+dave {
				return errAway
			}
			return nil
		}
		if result, err := d.first.Claim(t.Context(), doc); err == nil || len(d.answerOf(doc.ID).Claims) != 1 {
			t.Fatalf("%s: the first try was to fail for one owner: %+v", name, result)
		}
		d.fault = func(string, bool) error { return nil }
		d.clock = now.Add(tt.later)
		daves.ExpiresAt = d.clock.Add(time.Hour)
		d.put(*daves)
		if got := claim(t, d.first, doc); got.Outcome != tt.want || got.Reason != tt.reason || got.Owners != 2 {
			t.Errorf("%s: got %+v", name, got)
		}
		if d.outcomes[doc.ID] != tt.want {
			t.Errorf("%s: noted %q", name, d.outcomes[doc.ID])
		}
	}
}

// What would have been claimed is recorded, for good, and nothing is touched.
func TestObserve(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(2)...)
	doc := signed(t, 1, forBob, forDave, three)
	for _, mode := range []keypackage.Mode{keypackage.ModeObserve, keypackage.ModeObserve, keypackage.ModeDeliver} {
		if got := claim(t, d.claimer(mode), doc); got.Outcome != keypackage.OutcomeObserved || got.Granted != 0 {
			t.Errorf("mode %s: got %+v", mode, got)
		}
	}
	answer := d.answerOf(doc.ID)
	want := []keypackage.Row{
		{Owner: bob, Requested: 3, Granted: 2, Reserve: true, Reason: "partial", Packages: []keypackage.Granted{
			{ID: "k1"}, {ID: "k2", Reserve: true},
		}},
		{Owner: dave, Requested: 3, Reason: "none"},
	}
	if !answer.Observed() || !reflect.DeepEqual(answer.Dismissal.Observed, want) {
		t.Errorf("recorded %+v", answer)
	}
	if d.commits > 0 || len(d.stock) != 2 || len(d.deliveries) > 0 || len(d.published) > 0 {
		t.Error("something was claimed or published")
	}
}
