package gateway

import (
	"maps"
	"time"
)

// recent maps ids to values that are of interest for a limited time only. It is not safe for concurrent use. The zero value is
// empty.
type recent[V any] struct {
	entries map[string]entry[V]
	swept   time.Time
}

type entry[V any] struct {
	value V
	until time.Time
}

// sweepInterval is how often expired entries are looked for; in between they only cost memory.
const sweepInterval = time.Minute

func (r *recent[V]) put(id string, value V, until time.Time) {
	now := time.Now()
	if r.entries == nil {
		r.entries = map[string]entry[V]{}
	}
	if now.Sub(r.swept) >= sweepInterval {
		r.swept = now
		maps.DeleteFunc(r.entries, func(_ string, e entry[V]) bool { return now.After(e.until) })
	}
	r.entries[id] = entry[V]{value, until}
}

func (r *recent[V]) get(id string) (V, bool) {
	e, ok := r.entries[id]
	return e.value, ok && time.Now().Before(e.until)
}
