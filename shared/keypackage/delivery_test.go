package keypackage_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// pending returns a delivery that was claimed now and ends in five minutes.
func pending(edits ...func(*keypackage.Delivery)) *keypackage.Delivery {
	d := &keypackage.Delivery{
		ID: keypackage.DeliveryID("r", "k"), PackageID: "k", RequestID: "r", RequestIDs: []string{"r"},
		PackageExpires: now.Add(time.Hour), CreatedAt: now, ExpiresAt: now.Add(5 * time.Minute), State: keypackage.StatePending,
	}
	for _, edit := range edits {
		edit(d)
	}
	return d
}

func sending(d *keypackage.Delivery) { d.BeginPush(now, "holder", keypackage.Lease) }

func TestNewDelivery(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ttl, requestEnds, packageEnds time.Duration
	}{
		"after its time":   {5 * time.Minute, time.Hour, time.Hour},
		"with the request": {time.Hour, 5 * time.Minute, time.Hour},
		"with the package": {time.Hour, time.Hour, 5 * time.Minute},
	} {
		req := parsed(t, p(bob.pubkey), nostr.Tag{"min", "2"})
		req.ValidUntil, req.ReceivedAt = now.Add(tt.requestEnds), now.Add(-time.Second)
		c := candidate("k", 1)
		c.ExpiresAt, c.Document = now.Add(tt.packageEnds), keypackage.Document{"event": "{}", "event_id": "k"}
		d := keypackage.NewDelivery(req, &c.Package, true, tt.ttl, now)
		if !d.ExpiresAt.Equal(now.Add(5 * time.Minute)) {
			t.Errorf("%s: ends %v after its claim", name, d.ExpiresAt.Sub(now))
		}
		if d.ID != req.ID+"_k" || keypackage.PackageOf(d.ID) != "k" || d.State != keypackage.StatePending || !d.Reserve ||
			d.Requester != alice.pubkey || d.Owner != bob.pubkey || d.Event() != "{}" || d.Hash != c.Hash ||
			!slices.Equal(d.RequestIDs, []string{req.ID}) || !d.RequestedAt.Equal(req.ReceivedAt) {
			t.Errorf("%s: got %+v", name, d)
		}
	}
}

// Only the writer may push, for as long as nobody else may, and never after the end.
func TestLease(t *testing.T) {
	t.Parallel()
	for lease, timeout := range map[time.Duration]time.Duration{
		keypackage.Lease:      keypackage.PushTimeout,
		keypackage.LocalLease: keypackage.LocalPushTimeout,
	} {
		d := pending()
		if !d.Pushable(now) || d.Leased(now) {
			t.Fatal("a new delivery is not pushable")
		}
		d.BeginPush(now, "holder", lease)
		if d.State != keypackage.StateSending || d.PushNo != 1 || d.ExposureUnknown {
			t.Errorf("after the first BeginPush: %+v", d)
		}
		if !d.MaySend(now, timeout) || d.Pushable(now) || !d.Leased(now) {
			t.Error("whoever holds the lease may send, and nobody else")
		}
		if lease >= keypackage.Fence {
			t.Errorf("a lease of %v outlives the fence", lease)
		}
		for at := now; at.Before(d.LeaseUntil.Add(time.Minute)); at = at.Add(100 * time.Millisecond) {
			if d.MaySend(at, timeout) && !d.Leased(at.Add(timeout)) {
				t.Fatalf("a push that begins %v after the write may outlive the lease", at.Sub(now))
			}
			if d.Leased(at) == d.Pushable(at) {
				t.Fatalf("%v after the write the delivery is leased %v and pushable %v", at.Sub(now), d.Leased(at), d.Pushable(at))
			}
		}
	}
}

// A holder knows its lease again, for as long as it lasts and nobody has recorded the end of the push.
func TestLeaseNamesItsHolder(t *testing.T) {
	t.Parallel()
	d := pending()
	if d.HeldBy("", now) || d.HeldBy("holder", now) {
		t.Error("nobody holds what was never begun")
	}
	d.BeginPush(now, "holder", keypackage.Lease)
	if !d.HeldBy("holder", now) || d.HeldBy("other", now) || d.HeldBy("", now) || d.HeldBy("holder", d.LeaseUntil) {
		t.Errorf("the holder is not the one who began: %+v", d)
	}
	d.Finish(1, keypackage.ResultNoSession, now)
	if d.HeldBy("holder", now) {
		t.Error("a recorded push is still held")
	}
	nameless := pending()
	nameless.BeginPush(now, "", keypackage.Lease)
	if nameless.HeldBy("", now) {
		t.Error("a lease without a name is somebody's")
	}
}

func TestNothingIsPushedAfterTheEnd(t *testing.T) {
	t.Parallel()
	d := pending()
	for name, at := range map[string]time.Time{"end": d.ExpiresAt, "later": d.ExpiresAt.Add(time.Second)} {
		if d.Pushable(at) {
			t.Errorf("pushable at its %s", name)
		}
	}
	just := d.ExpiresAt.Add(-time.Millisecond)
	d.BeginPush(just, "holder", keypackage.Lease)
	if !d.MaySend(just, keypackage.PushTimeout) || d.MaySend(d.ExpiresAt, keypackage.PushTimeout) {
		t.Error("the clock is not looked at again")
	}
	if !d.LeaseUntil.Before(d.DueAt()) {
		t.Error("the fence ends before the longest lease")
	}
}

func TestParkedIsNeverPushedAgain(t *testing.T) {
	t.Parallel()
	for _, result := range []keypackage.PushResult{keypackage.ResultUnknownEvent, keypackage.ResultRejected} {
		d := pending(sending)
		if !d.Finish(1, result, now) || d.State != keypackage.StatePending || !d.Parked || d.ExposureUnknown {
			t.Errorf("%s: got %+v", result, d)
		}
		if d.Pushable(now) || d.Joinable(now) {
			t.Errorf("%s: pushable %v, joinable %v", result, d.Pushable(now), d.Joinable(now))
		}
	}
}

func TestFinish(t *testing.T) {
	t.Parallel()
	negative := []keypackage.PushResult{
		keypackage.ResultNoSession, keypackage.ResultNoSubscription, keypackage.ResultNotSent, keypackage.ResultRefused,
		keypackage.ResultMisplaced, keypackage.ResultTooLarge,
	}
	for _, result := range negative {
		d := pending(sending)
		if !d.Finish(1, result, now) || d.State != keypackage.StatePending || d.ExposureUnknown || !d.Pushable(now) {
			t.Errorf("%s: got %+v", result, d)
		}
		if sent := result != keypackage.ResultNotSent; (d.Attempts == 1) != sent || d.LastResult != result {
			t.Errorf("%s: %d attempts, last result %q", result, d.Attempts, d.LastResult)
		}
	}
	for _, result := range []keypackage.PushResult{
		keypackage.ResultUnknown, keypackage.ResultUnclear, keypackage.ResultUnexpected, "", "something new",
	} {
		if d := pending(sending); !d.Finish(1, result, now) || d.State != keypackage.StatePending || !d.ExposureUnknown {
			t.Errorf("%q: got %+v", result, d)
		}
	}
	for name, d := range map[string]*keypackage.Delivery{"sending": pending(sending), "pending": pending()} {
		if !d.Finish(7, keypackage.ResultDelivered, now) || d.State != keypackage.StateDelivered || !d.DeliveredAt.Equal(now) ||
			d.FinishedAt.IsZero() || !d.KeepUntil.After(now) {
			t.Errorf("delivered over %s by another push: got %+v", name, d)
		}
	}
}

// What was delivered may be sent to its requester again until its end; nothing else may be sent without a lease.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	if pending().Repeatable(now) || pending(sending).Repeatable(now) {
		t.Error("what was never delivered is repeatable")
	}
	d := pending(sending)
	d.Finish(1, keypackage.ResultDelivered, now)
	if !d.Repeatable(now) || !d.Repeatable(d.ExpiresAt.Add(-1)) || d.Repeatable(d.ExpiresAt) {
		t.Error("what was delivered is not repeatable until its end")
	}
}

// What the answer of a push means once another one has begun: nothing, unless it was delivered.
func TestAnswerOfAnEarlierPush(t *testing.T) {
	t.Parallel()
	for _, result := range append(results(), "something new") {
		d := pending(sending)
		d.BeginPush(now.Add(keypackage.Lease), "holder", keypackage.Lease)
		if !d.ExposureUnknown {
			t.Fatal("a push whose end nobody recorded may have reached the requester")
		}
		before := *d
		changed := d.Finish(1, result, now.Add(keypackage.Lease))
		if delivered := result == keypackage.ResultDelivered; changed != delivered || (d.State == before.State) == delivered {
			t.Errorf("%s: changed %v, state %s", result, changed, d.State)
		}
		if d.PushNo != 2 || !d.ExposureUnknown || d.Parked {
			t.Errorf("%s: got %+v", result, d)
		}
	}
}

func TestTerminalStatesNeverChange(t *testing.T) {
	t.Parallel()
	for _, result := range results() {
		delivered := pending(sending)
		delivered.Finish(1, keypackage.ResultDelivered, now)
		before := *delivered
		if delivered.Finish(1, result, now.Add(time.Minute)) || !same(delivered, &before) {
			t.Errorf("%s over delivered: got %+v", result, delivered)
		}
		expired := pending(sending)
		expired.Expire(false, expired.DueAt())
		before = *expired
		expired.Finish(1, result, now.Add(time.Hour))
		if before.LastResult = result; !same(expired, &before) {
			t.Errorf("%s over expired: got %+v, want only the last result changed", result, expired)
		}
		if expired.Finish(1, result, now.Add(time.Hour)) {
			t.Errorf("%s over expired, again: nothing is left to save", result)
		}
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	due := pending().DueAt()
	finished := func(result keypackage.PushResult) func(*keypackage.Delivery) {
		return func(d *keypackage.Delivery) {
			d.BeginPush(now, "holder", keypackage.Lease)
			d.Finish(d.PushNo, result, now)
		}
	}
	over := func(d *keypackage.Delivery) { d.PackageExpires = due }
	reserve := func(d *keypackage.Delivery) { d.Reserve = true }
	for name, tt := range map[string]struct {
		edits      []func(*keypackage.Delivery)
		tombstoned bool
		want       string
	}{
		"never pushed":            {nil, false, keypackage.ExpiredReturned},
		"nobody there":            {[]func(*keypackage.Delivery){finished("no_session"), finished("no_subscription")}, false, keypackage.ExpiredReturned},
		"never sent":              {[]func(*keypackage.Delivery){finished("not_sent"), finished("refused")}, false, keypackage.ExpiredReturned},
		"unclear once":            {[]func(*keypackage.Delivery){finished("unknown"), finished("no_session")}, false, keypackage.ExpiredExposureUnknown},
		"still sending":           {[]func(*keypackage.Delivery){finished("no_session"), sending}, false, keypackage.ExpiredExposureUnknown},
		"unknown to the relay":    {[]func(*keypackage.Delivery){finished("unknown_event")}, false, keypackage.ExpiredParked},
		"refused by the relay":    {[]func(*keypackage.Delivery){finished("rejected")}, false, keypackage.ExpiredParked},
		"deleted":                 {nil, true, keypackage.ExpiredTombstoned},
		"its own time over":       {[]func(*keypackage.Delivery){over}, false, keypackage.ExpiredPackageOver},
		"a reserve":               {[]func(*keypackage.Delivery){reserve}, false, keypackage.ExpiredReserve},
		"a reserve, parked":       {[]func(*keypackage.Delivery){reserve, finished("rejected")}, false, keypackage.ExpiredReserve},
		"a reserve, perhaps seen": {[]func(*keypackage.Delivery){reserve, sending}, true, keypackage.ExpiredReserve},
	} {
		d := pending(tt.edits...)
		d.Expire(tt.tombstoned, due)
		if d.State != keypackage.StateExpired || d.Reason != tt.want || d.FinishedAt != due || !d.KeepUntil.After(due) {
			t.Errorf("%s: got %s, %q", name, d.State, d.Reason)
		}
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	d := pending()
	original := d.RequestIDs
	if !d.Join("s") || d.Join("s") || d.Join("r") {
		t.Error("a request joins once")
	}
	if !slices.Equal(d.RequestIDs, []string{"r", "s"}) || d.LatestRequest() != "s" || len(original) != 1 {
		t.Errorf("got %v, latest %s", d.RequestIDs, d.LatestRequest())
	}
	if !d.ExpiresAt.Equal(now.Add(5 * time.Minute)) {
		t.Error("joining moved the end")
	}
	for left, want := range map[time.Duration]bool{time.Minute: true, 30 * time.Second: true, 29 * time.Second: false, -1: false} {
		if got := d.Joinable(d.ExpiresAt.Add(-left)); got != want {
			t.Errorf("%v before the end: joinable %v", left, got)
		}
	}
	if !pending(sending).Joinable(now) {
		t.Error("a delivery under way can not be joined")
	}
	for name, end := range map[string]func(*keypackage.Delivery){
		"delivered": func(d *keypackage.Delivery) { d.Finish(0, keypackage.ResultDelivered, now) },
		"expired":   func(d *keypackage.Delivery) { d.Expire(false, now) },
	} {
		if d := pending(end); d.Joinable(now) || d.Open() || d.Pushable(now) {
			t.Errorf("%s: joinable %v, open %v, pushable %v", name, d.Joinable(now), d.Open(), d.Pushable(now))
		}
	}
}

func results() []keypackage.PushResult {
	return []keypackage.PushResult{
		keypackage.ResultDelivered, keypackage.ResultNoSession, keypackage.ResultNoSubscription, keypackage.ResultUnknownEvent,
		keypackage.ResultRejected, keypackage.ResultUnknown, keypackage.ResultNotSent, keypackage.ResultRefused,
		keypackage.ResultMisplaced, keypackage.ResultTooLarge, keypackage.ResultUnclear, keypackage.ResultUnexpected,
	}
}
