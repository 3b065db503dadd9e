package main

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/stats"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// costs are the columns of a table of costs.
var costs = []string{"reads", "writes", "deletes", "USD/100,000", "round trips", "invocations", "POSTs"}

const reads, writes, deletes, usd, trips, invocations, posts = 0, 1, 2, 3, 4, 5, 6

// kind is a kind of what costs something, with the column in which it counts. Firestore charges for all reads alike: for each
// document, for a query that finds nothing as for one document, and for a count as for one of each 1,000 that it counts.
type kind struct {
	name   string
	column int
}

// operation is what is done in a collection, if it is one of Firestore's.
type operation struct {
	kind
	collection string
}

var (
	query, tally    = kind{"query", reads}, kind{"count", reads}
	read, readAgain = kind{"read", reads}, kind{"read in the transaction", reads}
	create, update  = kind{"create", writes}, kind{"update", writes}
	remove, missed  = kind{"delete", deletes}, kind{"delete of nothing, a condition on", deletes} // missed: must not exist
	invocation      = operation{kind{"invocation", invocations}, ""}
	post            = operation{kind{"POST", posts}, ""}
)

// bill is what something has cost. Its counts are of all that was done; reports divide.
type bill struct {
	counts map[operation]float64
	trips  int // calls to Firestore in a row before what it does for the requester, at least
}

func (b *bill) count(op operation, n float64) {
	if b.counts == nil {
		b.counts = make(map[operation]float64)
	}
	b.counts[op] += n
}

// add adds what else was done, so many times; trips stay.
func (b *bill) add(other bill, times float64) {
	for op, n := range other.counts {
		b.count(op, n*times)
	}
}

// meter is told by a connection to Firestore what passes over it: it is a stats.Handler. What is not answered is not charged.
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
	taken := bill{m.bill.counts, cmp.Or(m.left, m.bill.trips)}
	m.bill, m.left = bill{}, 0
	return taken
}

// leave notes that a message or so many POSTs leave: what is recorded afterwards keeps no requester waiting.
func (m *meter) leave(pushes float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bill.count(post, pushes)
	m.left = m.bill.trips
}

// call is one call: what it asks, and whether it is a query that has cost something.
type call struct {
	request any
	charged bool
}

type callKey struct{}

func (m *meter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (m *meter) HandleConn(context.Context, stats.ConnStats)                       {}
func (m *meter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, callKey{}, new(call))
}

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
		if found := answer.(*firestorepb.RunQueryResponse).GetDocument() != nil; found || !c.charged {
			m.bill.count(operation{query, request.GetStructuredQuery().GetFrom()[0].GetCollectionId()}, 1)
			c.charged = true
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

func kindOf(w *firestorepb.Write) kind {
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
func (m *meter) count(what kind, name string) {
	if name != "" {
		m.bill.count(operation{what, path.Base(path.Dir(name))}, 1)
	}
}

// reason is the promise that needs an operation, and how often at least for a request for one package: by whoever would read
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
	for op := range b.counts {
		named := slices.ContainsFunc(reasons, func(r reason) bool { return r.operation == op })
		if op.collection != "" && !named {
			reasons = append(reasons, reason{op, 0, "NO PROMISE NEEDS IT"})
			unnamed++
		}
	}
	for _, r := range reasons {
		if count := b.counts[r.operation]; count > 0 {
			name := fmt.Sprintf("%s: %s %s", what, r.name, r.collection)
			t.rows = append(t.rows, row{name, []float64{count / float64(n), r.least}, r.promise})
		}
	}
	return unnamed
}
