package keypackage

import (
	"hash/fnv"
	"math/rand/v2"
)

// Shards is how many parts an index has, with a shard in front of a time that only rises: without one it takes about 500 writes a
// second, because all meet at its end (https://cloud.google.com/firestore/native/docs/best-practices).
const Shards = 64

// NewMark returns the value of the field "open" for a new request document: a random integer from 0 to Shards-1.
func NewMark() int { return rand.IntN(Shards) }

// marked reports whether a value is one that NewMark returns, as Firestore returns it.
func marked(value any) bool {
	shard, ok := value.(int64)
	return ok && shard >= 0 && shard < Shards
}

// shardOf returns a number from 1 to Shards, the same for the same id. Zero is not written: the document is not in the index.
func shardOf(id string) int {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(id)) // never fails
	return 1 + int(sum.Sum32()%Shards)
}
