// Package store keeps everything in Firestore. It is the only package that knows Firestore.
//
// One rule governs all its transactions: a document that is written is read before and written under the condition that it has not
// changed (its update time, or that it does not exist); a document that is only relied on is read by id inside the transaction, or must
// not exist, which is a condition as well. Reading inside what is also written makes concurrent writers wait for each other's locks until
// one of them is aborted, which took the Firestore emulator from 400 claims a second to 2; conditions make the loser fail at once.
// Queries stay outside, because a query in a transaction locks more than the documents it finds.
//
// Nothing here decides anything: the use cases do, and this package says whether what they relied on still holds. A lost race is
// keypackage.ErrConflict, which only a commit returns; every other failure is a retryable fault that keeps its cause.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Store implements the stores of the use cases. It is safe for concurrent use.
type Store struct {
	client      *firestore.Client
	policy      keypackage.Policy
	inspections inspections

	keyPackages, requests, tombstones         *firestore.CollectionRef // the relay's
	deliveries, claims, ledger, pairs, owners *firestore.CollectionRef // ours
}

// New returns a Store on the client's database.
func New(client *firestore.Client, collections config.Collections, policy keypackage.Policy) *Store {
	return &Store{
		client: client, policy: policy,
		keyPackages: client.Collection(collections.KeyPackages), requests: client.Collection(collections.Requests),
		tombstones: client.Collection(collections.Tombstones), deliveries: client.Collection(collections.Deliveries),
		claims: client.Collection(collections.Claims), ledger: client.Collection(collections.Ledger),
		pairs: client.Collection(collections.Pairs), owners: client.Collection(collections.Owners),
	}
}

// snapshot is a document as it was read, or that there is none.
type snapshot = firestore.DocumentSnapshot

// get reads documents by id, outside any transaction, and returns one snapshot for each, in order.
func (s *Store) get(ctx context.Context, refs ...*firestore.DocumentRef) ([]*snapshot, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	snaps, err := s.client.GetAll(ctx, refs)
	return snaps, failed("read documents", err)
}

// one reads one document.
func (s *Store) one(ctx context.Context, ref *firestore.DocumentRef) (*snapshot, error) {
	snaps, err := s.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	return snaps[0], nil
}

func docs(in *firestore.CollectionRef, ids []string) []*firestore.DocumentRef {
	refs := make([]*firestore.DocumentRef, len(ids))
	for i, id := range ids {
		refs[i] = in.Doc(id)
	}
	return refs
}

// tombstone is the document that says that an author has deleted an event, or the versions of a slot.
func (s *Store) tombstone(id, author string) *firestore.DocumentRef {
	return s.tombstones.Doc(keypackage.TombstoneID(id, author))
}

// results goes through what a query finds, and reads on as it is taken. An error is the last.
func results(ctx context.Context, query firestore.Query) iter.Seq2[*snapshot, error] {
	return func(yield func(*snapshot, error) bool) {
		documents := query.Documents(ctx)
		defer documents.Stop()
		for {
			snap, err := documents.Next()
			if errors.Is(err, iterator.Done) || !yield(snap, err) || err != nil {
				return
			}
		}
	}
}

// find reads what the queries find, one after another. What read cannot read is keypackage.ErrUnreadable; another error is the last.
func find[T any](ctx context.Context, doing string, read func(*snapshot) (T, error), queries ...firestore.Query) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, query := range queries {
			for snap, err := range results(ctx, query) {
				if err != nil {
					yield(*new(T), failed(doing, err))
					return
				}
				if !yield(read(snap)) {
					return
				}
			}
		}
	}
}

const (
	valuesAtOnce = 30 // in one query, as Firestore allows
	shardsAtOnce = 22 // in one query: a third of them, so that all queries cost the same
)

// inShards returns queries that together cover all shards, which are numbered from first in the field: the oldest come
// first within each, and another shard comes first each time. They need the composite index (field, by).
func inShards(query firestore.Query, field string, first int, by string) (queries []firestore.Query) {
	shards := make([]int, keypackage.Shards)
	start := rand.IntN(keypackage.Shards)
	for i := range shards {
		shards[i] = first + (start+i)%keypackage.Shards
	}
	for some := range slices.Chunk(shards, shardsAtOnce) {
		queries = append(queries, query.Where(field, "in", some).OrderBy(by, firestore.Asc))
	}
	return queries
}

// decode reads a document of ours; a missing one leaves the value alone.
func decode(snap *snapshot, into any) error {
	if !snap.Exists() {
		return nil
	}
	if err := snap.DataTo(into); err != nil {
		return unreadable(snap, err)
	}
	return nil
}

// unreadable is keypackage.ErrUnreadable about a document.
func unreadable(snap *snapshot, cause error) error {
	err := fmt.Errorf("%s/%s: %w", snap.Ref.Parent.ID, snap.Ref.ID, errors.Join(keypackage.ErrUnreadable, cause))
	return fault.Retryable("document_unreadable", err)
}

// failed wraps an error of a read, or of anything else that cannot lose a race; nil stays nil.
func failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Retryable("firestore", fmt.Errorf("%s: %w", doing, err))
}

// notCommitted wraps the error of a commit, which alone can lose a race. Of that only the code is told: the text names a document.
func notCommitted(doing string, err error) error {
	if lostRace(err) {
		return fmt.Errorf("%s: %w (%s)", doing, keypackage.ErrConflict, status.Code(err))
	}
	return failed(doing, err)
}

// lostRace reports whether a condition of a write did not hold, or the transaction was aborted in favour of another.
func lostRace(err error) bool {
	return slices.Contains([]codes.Code{codes.FailedPrecondition, codes.AlreadyExists, codes.NotFound, codes.Aborted}, status.Code(err))
}
