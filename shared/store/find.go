package store

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/iterator"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// snapshots are documents that a query finds, one after another, read on as they are taken. An error is the last.
type snapshots = iter.Seq2[*firestore.DocumentSnapshot, error]

// find goes through what the queries find, one query after another.
func find(ctx context.Context, doing string, queries ...firestore.Query) snapshots {
	return func(yield func(*firestore.DocumentSnapshot, error) bool) {
		for _, query := range queries {
			for snap, err := range results(ctx, query) {
				if !yield(snap, failed(doing, err)) || err != nil {
					return
				}
			}
		}
	}
}

func results(ctx context.Context, query firestore.Query) snapshots {
	return func(yield func(*firestore.DocumentSnapshot, error) bool) {
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

// shardsAtOnce is how many shards one query covers; Firestore allows 30 values.
const shardsAtOnce = 22

// inShards returns queries that together cover all shards, which are numbered from first in the field: the oldest come
// first within each, and another shard comes first each time. They need the composite index (field, by).
func inShards(query firestore.Query, field string, first int, by string) []firestore.Query {
	shards := make([]int, keypackage.Shards)
	start := rand.IntN(keypackage.Shards)
	for i := range shards {
		shards[i] = first + (start+i)%keypackage.Shards
	}
	var queries []firestore.Query
	for some := range slices.Chunk(shards, shardsAtOnce) {
		queries = append(queries, query.Where(field, "in", some).OrderBy(by, firestore.Asc))
	}
	return queries
}

// decoded goes through documents as read reads them. One that it cannot read is keypackage.ErrUnreadable, and not the last.
func decoded[T any](found snapshots, read func(*firestore.DocumentSnapshot) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for snap, err := range found {
			var one T
			last := err != nil
			if !last {
				one, err = read(snap)
			}
			if !yield(one, err) || last {
				return
			}
		}
	}
}
