package trace_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/shared/trace"
)

var (
	now     = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	request = strings.Repeat("ab", 32)
	bob     = strings.Repeat("b0", 32)
	carol   = strings.Repeat("c0", 32)
	pkg     = strings.Repeat("ef", 32)
)

// document is a request's document, received that long ago.
func document(ago time.Duration, edit func(*store.RequestHistory)) store.History {
	r := &store.RequestHistory{Stored: now.Add(-ago)}
	r.ID, r.Kind, r.HasKind, r.ReceivedAt = request, keypackage.KindRequest, true, now.Add(-ago)
	if edit != nil {
		edit(r)
	}
	return store.History{Request: r}
}

func claim(status keypackage.Status, reason string) keypackage.Claim {
	return keypackage.Claim{RequestID: request, Owner: bob, Owners: []string{bob}, Status: status, Reason: reason, Requested: 1}
}

func claimed(claims ...keypackage.Claim) store.History {
	h := document(time.Minute, nil)
	h.Answer.Claims = claims
	return h
}

func dismissed(outcome keypackage.Outcome, reason string) store.History {
	h := document(time.Minute, nil)
	h.Answer.Dismissal = &keypackage.Dismissal{RequestID: request, Owners: []string{bob}, Outcome: outcome, Reason: reason, Requested: 1}
	return h
}

// delivery is one that a request of a minute ago has created, with four minutes left.
func delivery(edit func(*store.DeliveryHistory)) store.DeliveryHistory {
	var d store.DeliveryHistory
	d.ID, d.Owner, d.PackageID, d.RequestID = keypackage.DeliveryID(request, pkg), bob, pkg, request
	d.RequestedAt, d.CreatedAt, d.ExpiresAt = now.Add(-time.Minute), now.Add(-time.Minute), now.Add(4*time.Minute)
	d.State, d.PackageExpires = keypackage.StatePending, now.Add(time.Hour)
	edit(&d)
	return d
}

func granted(edit func(*store.DeliveryHistory)) store.History {
	d := delivery(edit)
	c := claim(keypackage.StatusFull, "")
	c.Granted, c.DeliveryIDs = 1, []string{d.ID}
	h := claimed(c)
	h.Deliveries = []store.DeliveryHistory{d}
	return h
}

func pending(result keypackage.PushResult) store.History {
	return granted(func(d *store.DeliveryHistory) { d.LastResult, d.PushNo = result, 1 })
}

func expired(reason string, result keypackage.PushResult) store.History {
	return granted(func(d *store.DeliveryHistory) {
		d.State, d.Reason, d.LastResult, d.FinishedAt = keypackage.StateExpired, reason, result, now
	})
}

// Each state has a sentence that names what happened and what to do.
func TestTell(t *testing.T) {
	t.Parallel()
	retry := claim(keypackage.StatusLimited, keypackage.ReasonPairLimit)
	retry.RetryAt = now.Add(time.Hour)
	tests := []struct {
		name           string
		history        store.History
		happened, cure string
	}{
		{"no document", store.History{}, "Nothing is stored", "check the id, the project"},
		{"another kind", document(0, func(r *store.RequestHistory) { r.Kind = 1 }), "kind 1, which is no request", "check the id"},
		{"no claim yet", document(time.Second, nil), "no claim yet", "look again"},
		{"never taken up", document(time.Hour, func(r *store.RequestHistory) { r.Open = true }), "should have taken it up", "ExpireDeliveries"},
		{"no mark", document(time.Hour, nil), "no mark (`open`)", "ask anew"},
		{"claims gone", document(time.Hour, func(r *store.RequestHistory) { r.Outcome = "granted" }), "ended as granted", "nothing more is known"},
		{"rejected: the relay's fault", dismissed(keypackage.OutcomeRejected, "document_id_mismatch"), "rejected (document_id_mismatch)", "the relay has to"},
		{"rejected: the client's fault", dismissed(keypackage.OutcomeRejected, "bad_signature"), "rejected (bad_signature)", "client has to publish"},
		{"rejected: owners", dismissed(keypackage.OutcomeRejected, "self_request"), "rejected (self_request)", "correct the `p` tags"},
		{"rejected: stale", dismissed(keypackage.OutcomeRejected, "stale"), "rejected (stale)", "taken up too late"},
		{"rejected: expired", dismissed(keypackage.OutcomeRejected, "expired"), "rejected (expired)", "ttl"},
		{"rejected: future", dismissed(keypackage.OutcomeRejected, "future"), "rejected (future)", "clock"},
		{"observed", dismissed(keypackage.OutcomeObserved, ""), "mode was observe", "ask anew"},
		{"limited", claimed(retry), "asked too often", "after 2026-05-04T13:00:00Z"},
		{"budget", claimed(claim(keypackage.StatusLimited, keypackage.ReasonBudget)), "within an hour", "OWNER_BUDGET_PER_HOUR"},
		{"no_match", claimed(claim(keypackage.StatusNoMatch, "")), "none of the ciphersuite", "operate stock -owner " + bob},
		{"scan_limit", claimed(claim(keypackage.StatusNoMatch, keypackage.ReasonScanLimit)), "more documents in stock", "delete"},
		{"none", claimed(claim(keypackage.StatusNone, "")), "no valid KeyPackage in stock", "operate stock -owner " + bob},
		{"none: unusable", claimed(claim(keypackage.StatusNone, keypackage.ReasonUnusable)), "none of them is valid", "publish correct ones"},
		{"none: stale", claimed(claim(keypackage.StatusNone, keypackage.ReasonStale)), "before the request was over", "ask anew"},
		{"damaged", claimed(keypackage.Claim{Owner: bob, Owners: []string{bob}, Status: keypackage.StatusFull, Granted: 1}), "no delivery", "changed"},
		{"never pushed", pending(""), "no push was begun", "DeliverKeyPackages"},
		{"no_session", pending(keypackage.ResultNoSession), "no authenticated session", "NIP-42"},
		{"no_subscription", pending(keypackage.ResultNoSubscription), "none of the requester's subscriptions", "subscribe"},
		{"refused", pending(keypackage.ResultRefused), "refused the call", "RELAY_AUDIENCE"},
		{"not_sent", pending(keypackage.ResultNotSent), "could not be reached", "RELAY_DELIVERY_URL"},
		{"misplaced", pending(keypackage.ResultMisplaced), "no delivery endpoint", "RELAY_DELIVERY_URL"},
		{"too_large", pending(keypackage.ResultTooLarge), "too large", "bodies"},
		{"unexpected", pending(keypackage.ResultUnexpected), "does not know", "correct the relay"},
		{"unknown", pending(keypackage.ResultUnknown), "did not take it", "has to read"},
		{"unclear", pending(keypackage.ResultUnclear), "without a clear answer", "endpoint"},
		{"parked: unknown_event", granted(func(d *store.DeliveryHistory) {
			d.Parked, d.LastResult = true, keypackage.ResultUnknownEvent
		}), "is parked", "write `event`"},
		{"parked: rejected", granted(func(d *store.DeliveryHistory) {
			d.Parked, d.LastResult = true, keypackage.ResultRejected
		}), "is parked", "relay's logs"},
		{"deleted", granted(func(d *store.DeliveryHistory) { d.Tombstoned = true }), "deleted by its owner", "ask anew"},
		{"sending", granted(func(d *store.DeliveryHistory) {
			d.State, d.LeaseUntil = keypackage.StateSending, now.Add(time.Second)
		}), "is being pushed", "look again"},
		{"sending, lease over", granted(func(d *store.DeliveryHistory) {
			d.State, d.LeaseUntil = keypackage.StateSending, now.Add(-time.Second)
		}), "never recorded", "pushed again"},
		{"over", granted(func(d *store.DeliveryHistory) { d.ExpiresAt = now.Add(-time.Second) }), "not pushed any more", "look again"},
		{"never ended", granted(func(d *store.DeliveryHistory) { d.ExpiresAt = now.Add(-time.Hour) }), "should have expired", "ExpireDeliveries"},
		{"delivered", granted(func(d *store.DeliveryHistory) {
			d.State, d.DeliveredAt = keypackage.StateDelivered, now.Add(-59*time.Second)
		}), "was delivered at 2026-05-04T11:59:01Z, 1s after", "nothing to do"},
		{"returned", expired(keypackage.ExpiredReturned, keypackage.ResultNoSession), "back in stock", "connected and authenticated"},
		{"reserve", expired(keypackage.ExpiredReserve, ""), "stays in stock as the reserve", "mode is deliver"},
		{"burned: exposure_unknown", expired(keypackage.ExpiredExposureUnknown, keypackage.ResultUnknown), "is burned", "endpoint"},
		{"burned: parked", expired(keypackage.ExpiredParked, keypackage.ResultRejected), "is burned", "relay's logs"},
		{"burned: tombstoned", expired(keypackage.ExpiredTombstoned, ""), "its owner has deleted it", "ask anew"},
		{"burned: package_expired", expired(keypackage.ExpiredPackageOver, ""), "its own time was over", "ask anew"},
	}
	said := make(map[string]string)
	for _, test := range tests {
		got := trace.Tell(test.history, now)
		if !strings.Contains(got, test.happened) || !strings.Contains(got, test.cure) || !strings.HasSuffix(got, ".") {
			t.Errorf("%s: %q, want %q and %q", test.name, got, test.happened, test.cure)
		}
		if other, again := said[got]; again {
			t.Errorf("%s and %s are told in the same words", test.name, other)
		}
		said[got] = test.name
	}
}

func TestTheDeliveryThatNeedsSomebodyIsToldOf(t *testing.T) {
	t.Parallel()
	h := granted(func(d *store.DeliveryHistory) { d.State, d.DeliveredAt = keypackage.StateDelivered, now })
	h.Deliveries = append(h.Deliveries, delivery(func(d *store.DeliveryHistory) {
		d.PackageID, d.Parked, d.LastResult = carol, true, keypackage.ResultRejected
	}))
	h.Answer.Claims[0].Owners = []string{bob, carol}
	got := trace.Tell(h, now)
	want := "Of 3 findings, 1 delivered, 1 pending, 1 unclaimed; KeyPackage c0c0c0c0 of owner b0b0b0b0 is parked"
	if !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q...", got, want)
	}
}

func TestWhatIsNoLongerKept(t *testing.T) {
	t.Parallel()
	h := granted(func(*store.DeliveryHistory) {})
	h.Deliveries = nil
	if got := trace.Tell(h, now); !strings.Contains(got, "is no longer kept") {
		t.Errorf("without the delivery: %q", got)
	}
	h = pending(keypackage.ResultNoSession)
	h.Request, h.Answer = nil, keypackage.Answer{}
	if got := trace.Tell(h, now); !strings.Contains(got, "is pending") {
		t.Errorf("with the delivery alone: %q", got)
	}
}

// Nothing of an event's content is shown.
func TestWhatIsShown(t *testing.T) {
	t.Parallel()
	h := granted(func(d *store.DeliveryHistory) {
		d.Package = keypackage.Document{keypackage.FieldEvent: "secret", keypackage.FieldContent: "secret"}
		d.Ledger = &keypackage.Ledger{Use: keypackage.UseOneTime, DeliveryID: d.ID, FirstUse: now}
		d.Tombstoned, d.DeletedAt = true, now
		d.RequestID = carol
	})
	h.Request.Event = "secret"
	shown := trace.New(request, h, now)
	var text bytes.Buffer
	if err := shown.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		shown.Summary, "received      2026-05-04T11:59:00.000Z", "claim\n  owner         " + bob, "status        full", "granted       1 of 1",
		"delivery\n  id            " + h.Deliveries[0].ID, "state         pending", "joined        " + carol, "ledger        one_time since 2026-05-04T12:00:00Z",
		"deleted       2026-05-04T12:00:00.000Z",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &text)
		}
	}
	encoded, err := json.Marshal(shown)
	if err != nil || bytes.Contains(encoded, []byte("secret")) || strings.Contains(text.String(), "secret") {
		t.Errorf("content is shown, %v:\n%s\n%s", err, encoded, &text)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	signed := nostr.Event{Kind: keypackage.KindRequest, CreatedAt: nostr.Now(), Tags: nostr.Tags{{"p", bob}}}
	if err := signed.Sign(nostr.GeneratePrivateKey()); err != nil {
		t.Fatal(err)
	}
	h := granted(func(*store.DeliveryHistory) {})
	h.Request.Event = signed.String()
	want := `resource.type="cloud_run_revision"
labels.function:*
(jsonPayload.request_event_id="` + request + `" OR jsonPayload.requester_pubkey="` + signed.PubKey + `")
timestamp>="2026-05-04T11:54:00Z"
timestamp<="2026-05-04T12:09:00Z"`
	if got := trace.Query(request, h); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := trace.Query(request, store.History{}); strings.Contains(got, "timestamp") || !strings.Contains(got, request) {
		t.Errorf("of an unknown request:\n%s", got)
	}
}
