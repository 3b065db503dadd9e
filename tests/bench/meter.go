package main

import (
	"context"
	"path"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/stats"
)

// operation is one kind of what Firestore charges for.
type operation struct {
	kind       kind
	collection string
}

type kind string

// The kinds of operations. Firestore charges for the first four alike: for each document, for a query that finds nothing
// as for one document, and for a count as for one of each 1,000 that it counts.
const (
	query     kind = "query"
	tally     kind = "count"
	read      kind = "read"
	readAgain kind = "read in the transaction"
	create    kind = "create"
	update    kind = "update"
	remove    kind = "delete"
	missed    kind = "delete of nothing, a condition on" // a document that must not exist
)

// meter counts the documents that pass over a connection to Firestore.
type meter struct {
	mu    sync.Mutex
	docs  map[operation]int
	spans []span
}

// span is from the beginning of a call until its end.
type span struct{ begun, ended time.Time }

var _ stats.Handler = (*meter)(nil)

func newMeter() *meter { return &meter{docs: make(map[operation]int)} }

// take returns what was counted since the last time, and how many calls were made one after another.
func (m *meter) take() (docs map[operation]int, trips int) {
	trips = m.trips()
	m.mu.Lock()
	defer m.mu.Unlock()
	docs, m.docs, m.spans = m.docs, make(map[operation]int), nil
	return docs, trips
}

// trips is how many calls were made one after another so far: as many as do not overlap, which holds while all of them take
// about as long.
func (m *meter) trips() (trips int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.spans, func(a, b span) int { return a.ended.Compare(b.ended) })
	var last time.Time
	for _, s := range m.spans {
		if !s.begun.Before(last) {
			trips++
			last = s.ended
		}
	}
	return trips
}

// call is one call, whose messages come one after another.
type call struct {
	kind       kind                 // of what is read
	collection string               // of a query that has found nothing yet
	writes     []*firestorepb.Write // of a commit
}

type callKey struct{}

// TagRPC implements stats.Handler.
func (m *meter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, callKey{}, &call{kind: read})
}

// TagConn implements stats.Handler.
func (m *meter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (m *meter) HandleConn(context.Context, stats.ConnStats) {}

// HandleRPC implements stats.Handler. What is not answered is not charged.
func (m *meter) HandleRPC(ctx context.Context, happened stats.RPCStats) {
	c := ctx.Value(callKey{}).(*call)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch event := happened.(type) {
	case *stats.OutPayload:
		c.sent(event.Payload)
	case *stats.InPayload:
		m.received(c, event.Payload)
	case *stats.End:
		if event.Error == nil && c.collection != "" {
			m.docs[operation{c.kind, c.collection}]++
		}
		m.spans = append(m.spans, span{event.BeginTime, event.EndTime})
	}
}

func (c *call) sent(message any) {
	switch request := message.(type) {
	case *firestorepb.BatchGetDocumentsRequest:
		if request.GetNewTransaction() != nil {
			c.kind = readAgain
		}
	case *firestorepb.RunQueryRequest:
		c.kind, c.collection = query, request.GetStructuredQuery().GetFrom()[0].GetCollectionId()
	case *firestorepb.RunAggregationQueryRequest:
		asked := request.GetStructuredAggregationQuery().GetStructuredQuery()
		c.kind, c.collection = tally, asked.GetFrom()[0].GetCollectionId()
	case *firestorepb.CommitRequest:
		c.writes = request.GetWrites()
	}
}

func (m *meter) received(c *call, message any) {
	switch answer := message.(type) {
	case *firestorepb.BatchGetDocumentsResponse:
		m.count(c.kind, answer.GetFound().GetName()+answer.GetMissing())
	case *firestorepb.RunQueryResponse:
		if name := answer.GetDocument().GetName(); name != "" {
			m.count(c.kind, name)
			c.collection = ""
		}
	case *firestorepb.CommitResponse:
		for _, w := range c.writes {
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

// count counts a document by its full name, of which the last but one part is the collection.
func (m *meter) count(k kind, name string) {
	if name != "" {
		m.docs[operation{k, path.Base(path.Dir(name))}]++
	}
}
