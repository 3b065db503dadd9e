package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// patience is how long settling may take beyond the life of a delivery and the fence. To find a lost trigger takes 30 s, the
// lease of a push whose function was killed 15 s; the rest is for busy machines, since nothing waits for it to pass.
const patience = 3 * time.Minute

// settle waits until everything has come to its end: all requesters come online and stay, and whatever is still under way
// is delivered or expires. What has not ended when patience does is for the judge.
func (s *soak) settle(ctx context.Context) error {
	s.Progress(fmt.Sprintf("settling, which takes at most %v more", s.Life+keypackage.Fence+patience))
	ctx, cancel := context.WithTimeout(ctx, s.Life+keypackage.Fence+patience)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(s.requesters))
	for i, r := range s.requesters {
		wg.Go(func() { errs[i] = r.stay(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for {
		done, err := s.settled(ctx)
		if done || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// stay opens a session that listens to all owners.
func (r *requester) stay(ctx context.Context) error {
	r.leave()
	for {
		err := r.enter(ctx, r.owners)
		if err == nil {
			return nil
		}
		if !r.pause(ctx, time.Second) {
			return fmt.Errorf("a requester cannot come back: %w", err)
		}
	}
}

// settled reports whether every delivery has ended, every request is answered, and none is looked for any more: a mark that a
// killed instance has left behind is found after 30 s.
func (s *soak) settled(ctx context.Context) (bool, error) {
	names := s.Config().Collections
	open := []keypackage.State{keypackage.StatePending, keypackage.StateSending}
	pending, err := s.documents.Collection(names.Deliveries).Where("state", "in", open).Limit(1).Documents(ctx).GetAll()
	if err != nil || len(pending) > 0 {
		return false, err
	}
	state, err := invariants.Load(ctx, s.documents, names)
	if err != nil || len(state.Marked) > 0 {
		return false, err
	}
	requests, err := s.requests(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(requests, func(r invariants.Request) bool { return !state.Answers[r.ID].Complete() }), nil
}

// requests returns those that must have an outcome: accepted by the relay, or stored although the relay did not say so.
func (s *soak) requests(ctx context.Context) ([]invariants.Request, error) {
	documents, err := s.documents.Collection(s.Config().Collections.Requests).Select().Documents(ctx).GetAll()
	if err != nil {
		return nil, fmt.Errorf("list the requests: %w", err)
	}
	stored := make(map[string]bool, len(documents))
	for _, document := range documents {
		stored[document.Ref.ID] = true
	}
	defer s.history.lock()()
	var requests []invariants.Request
	for id, ask := range s.history.asks {
		if ask.accepted || stored[id] {
			requests = append(requests, ask.Request)
		}
	}
	return requests, nil
}
