package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// judge compares what happened with what Firestore holds in the end, and with what was promised.
func (s *soak) judge(ctx context.Context, begun time.Time) (*Report, error) {
	state, err := invariants.Load(ctx, s.documents, s.Config().Collections)
	if err != nil {
		return nil, err
	}
	requests := s.history.requests(state)
	j := &judge{history: s.history, state: state, now: time.Now()}
	j.report = &Report{
		Seed: s.Seed, Took: j.now.Sub(begun), KeyPackages: len(j.uploads), Requests: len(requests),
		Faults: j.faults, Troubles: j.troubles, Outcomes: make(map[string]int), Deliveries: make(map[string]int),
	}
	run := invariants.Run{Uploads: make(map[string]invariants.Upload), Requests: requests, Pushes: s.history.raced}
	for id, u := range s.history.uploads {
		run.Uploads[id] = u.Upload
	}
	for _, r := range s.requesters {
		arrivals, err := r.client.AwaitKeyPackages(ctx, 0)
		if err != nil { // something did not verify
			j.broken("I6: %v", err)
		}
		received, repeated := attribute(r.Pubkey, arrivals, state.Deliveries)
		run.Received = append(run.Received, received...)
		j.report.Repeated += repeated
	}
	for _, v := range invariants.Check(run, state) {
		j.broken("%s", v)
	}
	j.checkStock()
	j.checkArrived(run.Received)
	j.report.Received = len(run.Received)
	for _, r := range requests {
		j.report.Outcomes[string(state.Answers[r.ID].Outcome())]++
	}
	return j.report, nil
}

// judge collects. Nothing happens any more.
type judge struct {
	*history
	state  invariants.State
	now    time.Time
	report *Report
}

func (j *judge) broken(format string, args ...any) {
	j.report.Broken = append(j.report.Broken, fmt.Sprintf(format, args...))
}

// checkStock is what the end shows of I2 and I3: nothing that the relay has stored is gone unless somebody had it, and who
// had a package once, deleted none and has none that ended, has one now.
func (j *judge) checkStock() {
	type ownerSuite struct {
		owner string
		suite mls.Ciphersuite
	}
	has, excused := make(map[ownerSuite]bool), make(map[ownerSuite]bool)
	for id, u := range j.uploads {
		key := ownerSuite{u.Owner, u.Suite}
		entry, used := j.state.Ledger[u.Hash]
		over := u.deleted || !u.Expires.After(j.now)
		has[key] = has[key] || u.stored && j.state.Stock[id] && !over && entry.Use != keypackage.UseOneTime
		excused[key] = excused[key] || over || !u.stored
		if u.stored && !over && !used && !j.state.Stock[id] {
			j.broken("I3: KeyPackage %s is gone, and nobody had it", id)
		}
	}
	for key, has := range has {
		if !has && !excused[key] {
			j.broken("I2: owner %s has no KeyPackage of suite %d any more", key.owner, key.suite)
		}
	}
}

// checkArrived is the other end of I3: what counts as delivered has arrived. If the session ended meanwhile, it was
// written by the relay and never read.
func (j *judge) checkArrived(received []invariants.Received) {
	arrived := make(map[string]bool)
	for _, r := range received {
		arrived[r.DeliveryID] = true
	}
	for id, d := range j.state.Deliveries {
		j.report.Deliveries[strings.TrimSpace(fmt.Sprint(d.State, " ", d.Reason))]++
		switch {
		case d.State != keypackage.StateDelivered || arrived[id]:
		case j.leftDuring(d):
			j.report.Unread++
		default:
			j.broken("I3: delivery %s counts as delivered, and never arrived in a session that was open", id)
		}
	}
}

// leftDuring reports whether a session of the requester ended between the claim and the record of the push, or about then.
func (j *judge) leftDuring(d keypackage.Delivery) bool {
	const around = time.Second
	return slices.ContainsFunc(slices.Concat(j.ends[d.Requester], j.ends[""]), func(end time.Time) bool {
		return end.After(d.CreatedAt.Add(-around)) && end.Before(d.DeliveredAt.Add(around))
	})
}

// reading is how long a frame may take from the relay's socket to the requester's clock on a busy machine.
const reading = 10 * time.Second

// attribute names the delivery that brought each of a requester's arrivals, since frames do not say it. Several may have brought
// the same reserve, each for another group. So that nothing is called lost as long as what arrived can be explained in any
// way, as many as possible of those that count as delivered get an arrival of their own: each arrival, in order of time, goes
// to the one that ends first.
func attribute(
	requester string, arrivals []actors.KeyPackage, deliveries map[string]keypackage.Delivery,
) (received []invariants.Received, repeated int) {
	var own []keypackage.Delivery
	for _, d := range deliveries {
		if d.Requester == requester {
			own = append(own, d)
		}
	}
	slices.SortFunc(own, func(a, b keypackage.Delivery) int {
		return cmp.Or(undelivered(a)-undelivered(b), a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(arrivals, func(a, b actors.KeyPackage) int { return a.At.Compare(b.At) })
	taken := make(map[string]bool)
	for _, a := range arrivals {
		id := explain(a, own, taken)
		if taken[id] {
			repeated++
		}
		taken[id] = true
		received = append(received, invariants.Received{
			DeliveryID: id, Session: requester, PackageID: a.Event.ID, Raw: a.Raw, At: a.At,
		})
	}
	return received, repeated
}

func undelivered(d keypackage.Delivery) int {
	if d.State == keypackage.StateDelivered {
		return 0
	}
	return 1
}

// explain returns the first delivery that can have brought what arrived and is not taken, or else the first that is: then
// it is a repetition. "" is what the checker reports.
func explain(arrival actors.KeyPackage, own []keypackage.Delivery, taken map[string]bool) (again string) {
	for _, d := range own {
		if d.PackageID != arrival.Event.ID || arrival.At.Before(d.CreatedAt) || arrival.At.After(d.ExpiresAt.Add(reading)) {
			continue
		}
		if !taken[d.ID] {
			return d.ID
		}
		again = cmp.Or(again, d.ID)
	}
	return again
}
