package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// dismissal is one as it is written.
func (s *claims) dismissal(requestID string) keypackage.Dismissal {
	return keypackage.Dismissal{
		RequestID: requestID, Requester: s.alice.Pubkey, Owners: []string{s.bob.Pubkey}, Outcome: keypackage.OutcomeObserved,
		Reason: "", Requested: 2, Observed: []keypackage.Row{{Owner: s.bob.Pubkey, Requested: 2, Reason: "none"}},
		Authentic: true, CreatedAt: s.now, KeepUntil: s.now.Add(time.Hour),
	}
}

// dismissalDocument is its document. The names of its fields, and that it has those of a claim, are a contract with whatever
// has been written before.
func (s *claims) dismissalDocument(requestID string) map[string]any {
	return map[string]any{
		"request_event_id": requestID, "requester_pubkey": s.alice.Pubkey, "owner_pubkey": "", "owner_pubkeys": []any{s.bob.Pubkey},
		"status": "observed", "reason": "", "requested": int64(2), "granted": int64(0), "last_resort": false, "delivery_ids": nil,
		"observed": []any{map[string]any{
			"owner": s.bob.Pubkey, "requested": int64(2), "granted": int64(0), "last_resort": false, "reason": "none",
		}},
		"authentic": true, "gateway": false, "created_at": s.now, "keep_until": s.now.Add(time.Hour),
	}
}

// dismissed stores such a document.
func (s *claims) dismissed(requestID string) {
	s.t.Helper()
	s.Put(fixture.Documents{s.claimPath(requestID, ""): s.dismissalDocument(requestID)})
}

// claiming.Store: Dismiss records that a whole request is rejected or observed, unless that is recorded or one of the units'
// claims exists.
func TestDismiss(t *testing.T) {
	t.Parallel()
	t.Run("creates the document", func(t *testing.T) {
		t.Parallel()
		s := newClaims(t)
		for id, units := range map[string][]string{
			s.fromAlice.ID: nil, s.fromCarol.ID: {keypackage.ClaimID(s.fromCarol.ID, s.bob.Pubkey)},
		} {
			s.must(s.store.Dismiss(t.Context(), s.dismissal(id), units))
			equal(t, "document", s.In(s.Collections.Claims)[id+"_"].Fields, s.dismissalDocument(id))
		}
	})
	t.Run("is read again", func(t *testing.T) {
		t.Parallel()
		s := newClaims(t)
		s.dismissed(s.fromAlice.ID)
		want := s.dismissal(s.fromAlice.ID)
		equal(t, "answer", must(s.store.Answer(t.Context(), s.fromAlice.ID))(t), keypackage.Answer{Dismissal: &want})
	})
	conflicts := map[string]func(*claims){
		"dismissed already": func(s *claims) { s.dismissed(s.fromAlice.ID) },
		"a unit answered":   func(s *claims) { s.answer(s.fromAlice.ID, s.carol.Pubkey) },
		"claimed":           func(s *claims) { s.must(s.store.Commit(s.t.Context(), s.plan)) },
	}
	for name, before := range conflicts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newClaims(t)
			before(s)
			units := []string{
				keypackage.ClaimID(s.fromAlice.ID, s.bob.Pubkey), keypackage.ClaimID(s.fromAlice.ID, s.carol.Pubkey),
			}
			s.writesNothing(func() error { return s.store.Dismiss(t.Context(), s.dismissal(s.fromAlice.ID), units) })
		})
	}
}

// A claim and a dismissal of the same request at the same moment: at most one of them stands, never both. (Each reads what
// the other creates, so that both may be aborted; then both are tried again.)
func TestDismissAgainstCommit(t *testing.T) {
	t.Parallel()
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := newClaims(t)
			var wait sync.WaitGroup
			var dismissed, committed error
			units := []string{s.units[0].ClaimID()}
			wait.Go(func() { dismissed = s.store.Dismiss(t.Context(), s.dismissal(s.fromAlice.ID), units) })
			wait.Go(func() { committed = s.store.Commit(t.Context(), s.plan) })
			wait.Wait()
			if dismissed == nil && committed == nil {
				t.Error("the request was both dismissed and claimed for")
			}
			for _, err := range []error{dismissed, committed} {
				if err != nil && !errors.Is(err, keypackage.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
}

func TestNoteOutcome(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	retryAt := s.now.Add(time.Hour)
	answer := keypackage.Answer{Claims: []keypackage.Claim{{
		RequestID: s.fromAlice.ID, Owner: s.bob.Pubkey, Owners: []string{s.bob.Pubkey}, Status: keypackage.StatusPartial, Requested: 2,
		Granted: 1, Reserve: true, Reason: keypackage.ReasonBudget, RetryAt: retryAt, KeepUntil: retryAt, DeliveryIDs: []string{"earlier_k"},
	}}}
	s.must(s.store.NoteOutcome(t.Context(), s.fromAlice.ID, answer))
	fields := s.In(s.Collections.Requests)[s.fromAlice.ID].Fields
	equal(t, "the relay's field", fields[keypackage.FieldEvent], any(s.fromAlice.Event))
	equal(t, "outcome", fields["outcome"], any(map[string]any{"status": "partial", "rows": []any{map[string]any{
		"owner": s.bob.Pubkey, "requested": int64(2), "granted": int64(1), "last_resort": true, "reason": "budget", "retry_at": retryAt,
		"keypackages": []any{map[string]any{"id": "k", "last_resort": true}},
	}}}))
	equal(t, "kept until", fields[keypackage.FieldKeepUntil], any(retryAt))
	if open, ok := fields[keypackage.FieldOpen]; ok {
		t.Errorf("the request has an outcome, and its mark is %v", open)
	}

	s.must(s.store.NoteOutcome(t.Context(), "gone", answer))
	if _, ok := s.In(s.Collections.Requests)["gone"]; ok {
		t.Error("the document of a request that the relay removed was created")
	}
}

// What was only observed is noted with its rows.
func TestNoteObserved(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	dismissal := s.dismissal(s.fromAlice.ID)
	s.must(s.store.NoteOutcome(t.Context(), s.fromAlice.ID, keypackage.Answer{Dismissal: &dismissal}))
	fields := s.In(s.Collections.Requests)[s.fromAlice.ID].Fields
	equal(t, "outcome", fields["outcome"], any(map[string]any{"status": "observed", "rows": []any{map[string]any{
		"owner": "", "requested": int64(2), "granted": int64(0), "last_resort": false, "reason": "observed",
	}}}))
	equal(t, "observed", fields["observed"], s.dismissalDocument(s.fromAlice.ID)["observed"])
}

// An outcome that could not be noted, because somebody else holds the document, is an error that may pass. It must not be
// taken for a document that is gone.
func TestNoteOutcomeOfALockedDocument(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	document := s.Client.Collection(s.Collections.Requests).Doc(s.fromAlice.ID)
	dismissal := s.dismissal(s.fromAlice.ID)
	s.must(s.Client.RunTransaction(t.Context(), func(ctx context.Context, tx *firestore.Transaction) error {
		if _, err := tx.Get(document); err != nil {
			return err
		}
		err := s.store.NoteOutcome(t.Context(), s.fromAlice.ID, keypackage.Answer{Dismissal: &dismissal})
		if !fault.IsRetryable(err) || errors.Is(err, keypackage.ErrConflict) {
			t.Errorf("the error is %v, not a retryable fault", err)
		}
		return nil
	}))
}
