package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
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

// bill is what something has cost. Its counts are of all that was done; reports divide.
type bill struct {
	docs               map[operation]float64
	invocations, posts float64
	trips              int // calls to Firestore in a row before what it does for the requester, at least
}

func (b *bill) count(op operation, docs float64) {
	if b.docs == nil {
		b.docs = make(map[operation]float64)
	}
	b.docs[op] += docs
}

// add adds what else was done, so many times; trips stay.
func (b *bill) add(other bill, times float64) {
	for op, docs := range other.docs {
		b.count(op, docs*times)
	}
	b.invocations += other.invocations * times
	b.posts += other.posts * times
}

// row is what each of n requests cost: reads, writes, deletes, what 100,000 requests cost in USD, round trips, invocations and
// POSTs. Deletes include what TTL policies will remove: what was created of ours, and the requests, which have their time from
// the outcome.
func (b bill) row(n int, names config.Collections) []float64 {
	expiring := []string{names.Claims, names.Deliveries, names.Ledger, names.Pairs}
	var reads, writes, deletes float64
	for op, docs := range b.docs {
		switch op.kind {
		case create, update:
			writes += docs
		case remove, missed:
			deletes += docs
		default:
			reads += docs
		}
		if op.kind == create && slices.Contains(expiring, op.collection) || op == (operation{update, names.Requests}) {
			deletes += docs
		}
	}
	usd := 0.03*reads + 0.09*writes + 0.01*deletes
	row := []float64{reads, writes, deletes, usd, float64(b.trips * n), b.invocations, b.posts}
	for i := range row {
		row[i] /= float64(n)
	}
	return row
}

// meter is told by a connection to Firestore what passes over it.
type meter struct {
	mu    sync.Mutex
	bill  bill      // of one invocation. Trips do not overlap, which counts those in a row while all take about as long
	ended time.Time // the last of its trips
	left  int       // its trips before its last message or push left
}

// take returns what was counted since the last time.
func (m *meter) take() bill {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.bill
	taken.trips = cmp.Or(m.left, taken.trips)
	m.bill, m.left = bill{}, 0
	return taken
}

// leave notes that a message, or with a POST a push, leaves: what is recorded afterwards keeps no requester waiting.
func (m *meter) leave(posts float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bill.posts += posts
	m.left = m.bill.trips
}

// call is one call: what it asks, and whether it is a query that has cost something.
type call struct {
	request any
	found   bool
}

type callKey struct{}

// TagRPC, TagConn, HandleConn and HandleRPC implement stats.Handler. What is not answered is not charged.
func (m *meter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, callKey{}, new(call))
}

func (m *meter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (m *meter) HandleConn(context.Context, stats.ConnStats)                       {}

func (m *meter) HandleRPC(ctx context.Context, happened stats.RPCStats) {
	c := ctx.Value(callKey{}).(*call)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch event := happened.(type) {
	case *stats.OutPayload:
		c.request = event.Payload
	case *stats.InPayload:
		m.answered(c, event.Payload)
	case *stats.End:
		if !event.BeginTime.Before(m.ended) {
			m.bill.trips++
			m.ended = event.EndTime
		}
	}
}

// answered looks at an answer to a call, of which there may be several.
func (m *meter) answered(c *call, answer any) {
	switch request := c.request.(type) {
	case *firestorepb.BatchGetDocumentsRequest:
		kind, answer := read, answer.(*firestorepb.BatchGetDocumentsResponse)
		if request.GetNewTransaction() != nil {
			kind = readAgain
		}
		m.count(kind, answer.GetFound().GetName()+answer.GetMissing())
	case *firestorepb.RunQueryRequest:
		if document := answer.(*firestorepb.RunQueryResponse).GetDocument(); document != nil || !c.found {
			m.bill.count(operation{query, request.GetStructuredQuery().GetFrom()[0].GetCollectionId()}, 1)
			c.found = true
		}
	case *firestorepb.RunAggregationQueryRequest:
		counted := request.GetStructuredAggregationQuery().GetStructuredQuery()
		m.bill.count(operation{tally, counted.GetFrom()[0].GetCollectionId()}, 1)
	case *firestorepb.CommitRequest:
		for _, w := range request.GetWrites() {
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

// count counts a document by its full name, of which the last but one part is the collection; "" is none.
func (m *meter) count(kind, name string) {
	if name != "" {
		m.bill.count(operation{kind, path.Base(path.Dir(name))}, 1)
	}
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
	for _, r := range reasons {
		delete(unexplained, r.operation)
	}
	unnamed = len(unexplained)
	for op := range unexplained {
		reasons = append(reasons, reason{op, 0, "NO PROMISE NEEDS IT"})
	}
	for _, r := range reasons {
		if docs := b.docs[r.operation]; docs > 0 {
			name := fmt.Sprintf("%s: %s %s", what, r.kind, r.collection)
			t.rows = append(t.rows, row{name, []float64{docs / float64(n), r.least}, r.promise})
		}
	}
	return unnamed
}
