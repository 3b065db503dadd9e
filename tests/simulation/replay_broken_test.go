package simulation

import (
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// after is a moment in the example.
func after(seconds int) time.Time { return Start.Add(time.Duration(seconds) * time.Second) }

func madeAt(second int, writes ...write) commit {
	return commit{time: after(second), since: after(second), at: after(second), system: true, writes: writes}
}

func put(id string) write {
	return write{collection: collections.KeyPackages, id: id, fields: map[string]any{"event_id": id}}
}

func gone(id string) write { return write{collection: collections.KeyPackages, id: id, deletes: true} }

func used(id string) write {
	fields := map[string]any{"use": "one_time", "delivery_id": "request_" + id}
	return write{collection: collections.Ledger, id: "hash-" + id, fields: fields}
}

func created(id string) write {
	return write{collection: collections.Deliveries, id: "request_" + id, fields: map[string]any{
		"state": "pending", "keypackage_event_id": id, "expires_at": after(300), "package_expires": after(9999),
	}}
}

// changed is a delivery's new state, with what else is new about it.
func changed(id, state, field, value string) write {
	return write{
		collection: collections.Deliveries, id: "request_" + id, mask: []string{"state", field},
		fields: map[string]any{"state": state, field: value},
	}
}

// exampleRun is a run in which Alice asked Bob for two packages, got the first, and the second returned to stock.
func exampleRun() (wholeRun, invariants.State) {
	upload := func(id string) keypackage.Package {
		return keypackage.Package{Owner: "bob", Hash: "hash-" + id, Suite: 1, ExpiresAt: after(9999)}
	}
	unused := write{collection: collections.Ledger, id: "hash-two", deletes: true}
	claim := write{collection: collections.Claims, id: "request_bob", fields: map[string]any{"request_event_id": "request"}}
	run := wholeRun{
		acks: []ack{{"request", 2}},
		commits: []commit{
			{time: after(0), at: after(0), writes: []write{put("one"), put("two"), put("res")}},
			madeAt(1, claim, gone("one"), gone("two"), used("one"), used("two"), created("one"), created("two")),
			madeAt(2, changed("one", "sending", "last_result", ""), changed("two", "sending", "last_result", "")),
			madeAt(3, changed("one", "delivered", "last_result", "delivered"), changed("two", "pending", "last_result", "no_session")),
			madeAt(340, changed("two", "expired", "reason", "returned"), put("two"), unused),
		},
	}
	run.Uploads = map[string]keypackage.Package{"one": upload("one"), "two": upload("two"), "res": upload("res")}
	return run, invariants.State{
		Ledger: map[string]keypackage.Ledger{"hash-one": {Use: keypackage.UseOneTime, DeliveryID: "request_one"}},
		Stock:  map[string]bool{"two": true, "res": true},
	}
}

func TestTheReplaySeesEveryBrokenPromise(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(*wholeRun, invariants.State)
		want  string
	}{
		"the last package is taken": {func(r *wholeRun, _ invariants.State) {
			r.commits[1].writes = append(r.commits[1].writes, gone("res"))
		}, "I2: owner bob"},
		"a package vanishes": {func(r *wholeRun, s invariants.State) {
			r.commits = append(r.commits, madeAt(400, gone("two")))
			delete(s.Stock, "two")
		}, "I3: package two is gone"},
		"a commit went unseen": {func(_ *wholeRun, s invariants.State) { delete(s.Stock, "two") }, "I3: the stock is not"},
		"an early acknowledgement": {func(r *wholeRun, _ invariants.State) {
			r.acks[0].commits = 1
		}, "I4: request request was acknowledged"},
		"a return after an unclear push": {func(r *wholeRun, _ invariants.State) {
			r.commits[3].writes[1] = changed("two", "pending", "last_result", "unknown")
		}, "I5: delivery request_two was returned: unresolved true"},
		"a return after an unrecorded push": {func(r *wholeRun, _ invariants.State) {
			r.commits[3].writes = r.commits[3].writes[:1]
		}, "I5: delivery request_two was returned: unresolved true"},
		"burned for nothing": {func(r *wholeRun, _ invariants.State) {
			r.commits[4].writes[0] = changed("two", "expired", "reason", "exposure_unknown")
		}, "I5: delivery request_two was burned"},
		"returned without the package": {func(r *wholeRun, s invariants.State) {
			r.commits[4].writes = r.commits[4].writes[:1]
			delete(s.Stock, "two")
		}, "I5: delivery request_two was returned without"},
		"an early end": {func(r *wholeRun, _ invariants.State) {
			r.commits[4].at = after(329)
		}, "I8: delivery request_two expired before"},
		"a second end": {func(r *wholeRun, _ invariants.State) {
			r.commits = append(r.commits, madeAt(400, changed("one", "expired", "reason", "delivered")))
		}, "I3: delivery request_one was delivered and became expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run, end := exampleRun()
			if broken := replay(run, end); len(broken) > 0 {
				t.Fatalf("before anything is broken: %v", broken)
			}
			test.spoil(&run, end)
			for _, v := range replay(run, end) {
				if strings.HasPrefix(v, test.want) {
					return
				}
			}
			t.Errorf("got %v, want %q", replay(run, end), test.want)
		})
	}
}
