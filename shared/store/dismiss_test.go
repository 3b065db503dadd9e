package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// claiming.Store: Dismiss creates the record of a whole request unless it or one of the units' records exists.
func TestDismiss(t *testing.T) {
	t.Parallel()
	whole := func(s *scene) keypackage.Claim {
		return keypackage.Claim{
			RequestID: s.fromAlice.ID, Status: keypackage.StatusRejected, Reason: "no_owner", CreatedAt: s.now, KeepUntil: s.now,
		}
	}
	t.Run("creates the record", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		for _, units := range [][]string{nil, {keypackage.ClaimID(s.fromCarol.ID, s.bob.Pubkey)}} {
			record := whole(s)
			if units != nil {
				record.RequestID = s.fromCarol.ID
			}
			s.must(s.store.Dismiss(t.Context(), record, units))
			equal(t, "record", must(s.store.Claims(t.Context(), []string{record.ID()}))(t), []keypackage.Claim{record})
		}
	})
	conflicts := map[string]func(*scene){
		"dismissed already": func(s *scene) { s.answer(s.fromAlice.ID, "") },
		"a unit answered":   func(s *scene) { s.answer(s.fromAlice.ID, s.carol.Pubkey) },
		"claimed":           func(s *scene) { s.must(s.store.Commit(s.t.Context(), s.plan)) },
	}
	for name, before := range conflicts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			before(s)
			units := []string{
				keypackage.ClaimID(s.fromAlice.ID, s.bob.Pubkey), keypackage.ClaimID(s.fromAlice.ID, s.carol.Pubkey),
			}
			s.writesNothing(func() error { return s.store.Dismiss(t.Context(), whole(s), units) })
		})
	}
}

// A claim and a rejection of the same request at the same moment: at most one of them stands, never both. (Each reads what
// the other creates, so that both may be aborted; then both are tried again.)
func TestDismissAgainstCommit(t *testing.T) {
	t.Parallel()
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			record := keypackage.Claim{RequestID: s.fromAlice.ID, Status: keypackage.StatusRejected, CreatedAt: s.now}
			var wait sync.WaitGroup
			var settled, committed error
			wait.Go(func() { settled = s.store.Dismiss(t.Context(), record, []string{s.units[0].ClaimID()}) })
			wait.Go(func() { committed = s.store.Commit(t.Context(), s.plan) })
			wait.Wait()
			if settled == nil && committed == nil {
				t.Error("the request was both rejected and claimed for")
			}
			for _, err := range []error{settled, committed} {
				if err != nil && !errors.Is(err, keypackage.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
}

func TestNoteOutcome(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	retryAt := s.now.Add(time.Hour)
	records := []keypackage.Claim{{
		RequestID: s.fromAlice.ID, Owner: s.bob.Pubkey, Status: keypackage.StatusPartial, Requested: 2, Granted: 1,
		Reason: keypackage.ReasonBudget, RetryAt: retryAt, KeepUntil: retryAt,
		Observed: []keypackage.Row{{Owner: s.bob.Pubkey, Granted: 1}},
	}}
	s.must(s.store.NoteOutcome(t.Context(), s.fromAlice.ID, keypackage.OutcomePartial, records))
	fields := s.In(s.Collections.Requests)[s.fromAlice.ID].Fields
	equal(t, "the relay's field", fields[keypackage.FieldEvent], any(s.fromAlice.Event))
	equal(t, "outcome", fields["outcome"], any(map[string]any{"status": "partial", "rows": []any{map[string]any{
		"owner": s.bob.Pubkey, "requested": int64(2), "granted": int64(1), "last_resort": false, "reason": "budget", "retry_at": retryAt,
	}}}))
	equal(t, "rows observed", len(fields["observed"].([]any)), 1)
	equal(t, "kept until", fields[keypackage.FieldKeepUntil], any(retryAt))
	if open, ok := fields[keypackage.FieldOpen]; ok {
		t.Errorf("the request has an outcome, and its mark is %v", open)
	}

	s.must(s.store.NoteOutcome(t.Context(), "gone", keypackage.OutcomePartial, records))
	if _, ok := s.In(s.Collections.Requests)["gone"]; ok {
		t.Error("the document of a request that the relay removed was created")
	}
}

// An outcome that could not be noted, because somebody else holds the document, is an error that may pass. It must not be
// taken for a document that is gone.
func TestNoteOutcomeOfALockedDocument(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	document := s.Client.Collection(s.Collections.Requests).Doc(s.fromAlice.ID)
	records := []keypackage.Claim{{RequestID: s.fromAlice.ID, Owner: s.bob.Pubkey}}
	s.must(s.Client.RunTransaction(t.Context(), func(ctx context.Context, tx *firestore.Transaction) error {
		if _, err := tx.Get(document); err != nil {
			return err
		}
		err := s.store.NoteOutcome(t.Context(), s.fromAlice.ID, keypackage.OutcomeNone, records)
		if !fault.IsRetryable(err) || errors.Is(err, keypackage.ErrConflict) {
			t.Errorf("the error is %v, not a retryable fault", err)
		}
		return nil
	}))
}
