package main

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/stats"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// operation is one kind of what Firestore charges for.
type operation struct{ kind, collection string }

// The kinds of operations. Firestore charges for the first four alike: for each document, for a query that finds nothing as for
// one document, and for a count as for one of each 1,000 that it counts.
const (
	query     = "query"
	tally     = "count"
	read      = "read"
	readAgain = "read in the transaction"
	create    = "create"
	update    = "update"
	remove    = "delete"
	missed    = "delete of nothing, a condition on" // a document that must not exist
)

// meter counts the documents that pass over a connection to Firestore.
type meter struct {
	mu    sync.Mutex
	docs  map[operation]float64
	ended time.Time // the last call of trips
	// trips is calls made one after another: as many as do not overlap, which holds while all of them take about as long.
	trips atomic.Int64
}

func newMeter() *meter { return &meter{docs: make(map[operation]float64)} }

// take returns what was counted since the last time, and how many calls were made one after another.
func (m *meter) take() (docs map[operation]float64, trips int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	docs, m.docs = m.docs, make(map[operation]float64)
	return docs, m.trips.Swap(0)
}

// call is one call, whose messages come one after another.
type call struct {
	kind       string               // of what is read
	collection string               // of a query that has found nothing yet
	writes     []*firestorepb.Write // of a commit
}

type callKey struct{}

// TagRPC, TagConn, HandleConn and HandleRPC implement stats.Handler. What is not answered is not charged.
func (m *meter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, callKey{}, &call{kind: read})
}

func (m *meter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (m *meter) HandleConn(context.Context, stats.ConnStats)                       {}

func (m *meter) HandleRPC(ctx context.Context, happened stats.RPCStats) {
	c := ctx.Value(callKey{}).(*call)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch event := happened.(type) {
	case *stats.OutPayload:
		m.passed(c, event.Payload)
	case *stats.InPayload:
		m.passed(c, event.Payload)
	case *stats.End:
		if event.Error == nil && c.collection != "" {
			m.docs[operation{c.kind, c.collection}]++
		}
		if !event.BeginTime.Before(m.ended) {
			m.trips.Add(1)
			m.ended = event.EndTime
		}
	}
}

// passed looks at a message of a call, in whichever direction.
func (m *meter) passed(c *call, message any) {
	switch message := message.(type) {
	case *firestorepb.BatchGetDocumentsRequest:
		if message.GetNewTransaction() != nil {
			c.kind = readAgain
		}
	case *firestorepb.BatchGetDocumentsResponse:
		m.count(c.kind, message.GetFound().GetName()+message.GetMissing())
	case *firestorepb.RunQueryRequest:
		c.kind, c.collection = query, message.GetStructuredQuery().GetFrom()[0].GetCollectionId()
	case *firestorepb.RunQueryResponse:
		if name := message.GetDocument().GetName(); name != "" {
			m.count(c.kind, name)
			c.collection = ""
		}
	case *firestorepb.RunAggregationQueryRequest:
		c.kind, c.collection = tally, message.GetStructuredAggregationQuery().GetStructuredQuery().GetFrom()[0].GetCollectionId()
	case *firestorepb.CommitRequest:
		c.writes = message.GetWrites()
	case *firestorepb.CommitResponse:
		for _, w := range c.writes {
			m.count(kindOf(w), w.GetDelete()+w.GetUpdate().GetName())
		}
	}
}

func kindOf(w *firestorepb.Write) string {
	switch _, existence := w.GetCurrentDocument().GetConditionType().(*firestorepb.Precondition_Exists); {
	case w.GetDelete() != "" && existence:
		return missed
	case w.GetDelete() != "":
		return remove
	case w.GetUpdateMask() != nil:
		return update
	}
	return create
}

// count counts a document by its full name, of which the last but one part is the collection.
func (m *meter) count(kind, name string) {
	if name != "" {
		m.docs[operation{kind, path.Base(path.Dir(name))}]++
	}
}

// bill is what something has cost. Its counts are of all that was done; reports divide.
type bill struct {
	docs               map[operation]float64
	invocations, posts float64
	trips              int64 // calls to Firestore in a row before what it does for the requester, at least
}

// add adds what else was done, so many times; trips stay.
func (b *bill) add(other bill, times float64) {
	if b.docs == nil {
		b.docs = make(map[operation]float64)
	}
	for op, n := range other.docs {
		b.docs[op] += n * times
	}
	b.invocations += other.invocations * times
	b.posts += other.posts * times
}

// price is the reads, writes and deletes of each of n requests, and what 100,000 of them cost, in USD. Deletes include what TTL
// policies will remove: what was created of ours, and the requests, which have their time from the outcome.
func (b bill) price(n int, names config.Collections) (p [4]float64) {
	expiring := []string{names.Claims, names.Deliveries, names.Ledger, names.Pairs}
	const reads, writes, deletes, usd = 0, 1, 2, 3
	for op, docs := range b.docs {
		each, charged := docs/float64(n), reads
		switch op.kind {
		case create, update:
			charged = writes
		case remove, missed:
			charged = deletes
		}
		p[charged] += each
		if op.kind == create && slices.Contains(expiring, op.collection) || op == (operation{update, names.Requests}) {
			p[deletes] += each
		}
	}
	p[usd] = 0.03*p[reads] + 0.09*p[writes] + 0.01*p[deletes]
	return p
}

// reason is why an operation is needed, and how often at least for a request for one package: by whoever would read
// nothing twice, read all of it inside the transaction, and live with the waiting that this means for concurrent claims.
type reason struct {
	operation
	least   float64
	promise string
}

// reasons name the promise behind every operation of a request for available packages, its claim's and its push's. An operation
// that is not in a list is one that nobody needs.
func reasons(c config.Collections) (claim, push []reason) {
	claim = []reason{
		{operation{query, c.KeyPackages}, 2, "oldest first; one remains (I2)"},
		{operation{tally, c.KeyPackages}, 0, "whether the owner is to be told about her stock"},
		{operation{read, c.Pairs}, 1, "limit of the requester, joining an open delivery"},
		{operation{read, c.Owners}, 1, "the owner's budget and the levels of her stock"},
		{operation{read, c.Claims}, 1, "answered before: the same answer (I4)"},
		{operation{readAgain, c.KeyPackages}, 0, "what remains is still there (I2)"},
		{operation{readAgain, c.Ledger}, 1, "what remains was not used up under another id (I2)"},
		{operation{missed, c.Claims}, 0, "one outcome: nobody rejected the whole request meanwhile (I3)"},
		{operation{missed, c.Tombstones}, 2, "not deleted: neither what is handed out nor what stays"},
		{operation{create, c.Claims}, 1, "exactly one recorded outcome (I3, I4)"},
		{operation{create, c.Deliveries}, 1, "what is claimed is delivered or returned (I3)"},
		{operation{create, c.Ledger}, 1, "used once (I1)"},
		{operation{create, c.Pairs}, 1, "limit of the requester, joining"},
		{operation{create, c.Owners}, 0, "the owner's budget, for the first time"},
		{operation{update, c.Owners}, 1, "the owner's budget"},
		{operation{remove, c.KeyPackages}, 1, "consumed: exposed to one requester only (I1)"},
		{operation{update, c.Requests}, 1, "the outcome on the relay's document, for the relay and for people"},
	}
	push = []reason{
		{operation{read, c.Deliveries}, 1, "what is pending, whether somebody else pushes it (I4), the outcome to tell (I3)"},
		{operation{missed, c.Tombstones}, 1, "not deleted meanwhile"},
		{operation{update, c.Deliveries}, 2, "sending before the push, its result after it: returned only if surely unseen (I5)"},
	}
	return claim, push
}

// explain lists the operations of n requests with the promise that needs each, and returns how many none needs.
func (b bill) explain(t *table, what string, reasons []reason, n int) (unnamed int) {
	unexplained := maps.Clone(b.docs)
	list := func(r reason) {
		name := fmt.Sprintf("%s: %s %s", what, r.kind, r.collection)
		t.rows = append(t.rows, row{name, []float64{b.docs[r.operation] / float64(n), r.least}, r.promise})
		delete(unexplained, r.operation)
	}
	for _, r := range reasons {
		if b.docs[r.operation] > 0 {
			list(r)
		}
	}
	unnamed = len(unexplained)
	for op := range unexplained {
		list(reason{op, 0, "NO PROMISE NEEDS IT"})
	}
	return unnamed
}
