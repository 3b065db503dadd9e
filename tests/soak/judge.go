package main

import (
	"context"
	"fmt"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// judge compares what happened with what Firestore holds in the end, and with what was promised.
func (s *soak) judge(ctx context.Context, begun time.Time) (*Report, error) {
	names := s.Config().Collections
	state, err := invariants.Load(ctx, s.documents, names)
	if err != nil {
		return nil, err
	}
	requests, err := s.requests(ctx)
	if err != nil {
		return nil, err
	}
	defer s.history.lock()()
	if s.ServedBy == config.ServedByGateway {
		unseen(state.Deliveries, s.history.pushes)
	}
	j := &judge{history: s.history, state: state, now: time.Now(), matcher: newMatcher(state.Deliveries, s.history.pushes)}
	j.report = newReport(s.Options, s.history, j.now.Sub(begun))
	run := invariants.Run{Uploads: make(map[string]invariants.Upload), Requests: requests, Pushes: s.history.raced}
	for id, u := range s.history.uploads {
		run.Uploads[id] = u.Upload
	}
	for _, r := range s.requesters {
		received, err := j.matcher.received(r)
		if err != nil {
			j.broken("I6: %v", err)
		}
		run.Received = append(run.Received, received...)
	}
	for _, v := range invariants.Check(run, state) {
		j.broken("%s", v)
	}
	j.checkStock()
	j.countRequests(requests)
	j.countDeliveries()
	j.report.Received, j.report.Duplicates = len(run.Received), j.matcher.repeated
	j.report.finish()
	return j.report, nil
}

// judge collects; it holds the history's lock.
type judge struct {
	*history
	*matcher
	state  invariants.State
	now    time.Time
	report *Report
}

func (j *judge) broken(format string, args ...any) {
	j.report.Violations = append(j.report.Violations, fmt.Sprintf(format, args...))
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
			j.report.Lost.KeyPackages++
			j.broken("I3: KeyPackage %s is gone, and nobody had it", id)
		}
	}
	for key, has := range has {
		if !has && !excused[key] {
			j.broken("I2: owner %s has no KeyPackage of suite %d any more", key.owner, key.suite)
		}
	}
}

func (j *judge) countRequests(requests []invariants.Request) {
	for _, r := range requests {
		answer := j.state.Answers[r.ID]
		if !answer.Complete() {
			j.report.Lost.Requests++
			continue
		}
		j.report.Outcomes[answer.Outcome()]++
	}
	j.report.Requests = len(requests)
}

func (j *judge) countDeliveries() {
	r := j.report
	for id, d := range j.state.Deliveries {
		r.Deliveries++
		arrived, seen := j.arrived[id]
		switch {
		case d.Open():
			r.Lost.Deliveries++
		case d.State == keypackage.StateDelivered:
			r.Delivered++
			if !seen {
				j.countUnread(d)
			}
		case d.Reason == keypackage.ExpiredReturned:
			r.Returned++
		case d.Reason == keypackage.ExpiredReserve:
			r.Reserves++
		default:
			r.Burned[d.Reason]++
		}
		if seen {
			r.delays = append(r.delays, arrived.Sub(j.possibleSince(d, arrived)))
		}
		if j.deliverable(d) {
			r.Deliverable++
			if seen || d.State == keypackage.StateDelivered {
				r.Completed++
			}
		}
	}
}

// countUnread judges a delivery that the relay wrote and the requester has not received: that is no surprise if the session
// ended while the relay wrote.
func (j *judge) countUnread(d keypackage.Delivery) {
	const around = time.Second
	for _, push := range j.pushes[d.ID] {
		for _, session := range j.sessions[d.Requester] {
			end := session.until
			if !end.IsZero() && end.After(push.since.Add(-around)) && (push.open() || end.Before(push.until.Add(around))) {
				j.report.Unread++
				return
			}
		}
	}
	j.report.Lost.Deliveries++
	j.broken("I3: delivery %s counts as delivered, and never arrived in a session that was open", d.ID)
}

// possibleSince returns since when the delivery could arrive: it was asked for, and the session was open.
func (j *judge) possibleSince(d keypackage.Delivery, arrived time.Time) time.Time {
	since := j.asks[d.RequestID].at
	for _, session := range j.sessions[d.Requester] {
		if session.since.After(since) && session.since.Before(arrived) {
			since = session.since
		}
	}
	return since
}

// deliverable reports whether the requester listened, to all owners, at some time in the delivery's life.
func (j *judge) deliverable(d keypackage.Delivery) bool {
	for _, session := range j.sessions[d.Requester] {
		if session.everyone && session.overlaps(d.CreatedAt, d.ExpiresAt) {
			return true
		}
	}
	return false
}
