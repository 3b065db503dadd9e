package main

import (
	"context"
	"path"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc"
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
)

// meter counts the documents that pass over a connection to Firestore.
type meter struct {
	mu    sync.Mutex
	docs  map[operation]int
	spans []span
}

// span is from the beginning of a call until its end.
type span struct{ begun, ended time.Time }

func newMeter() *meter { return &meter{docs: make(map[operation]int)} }

// options meter a connection. The last interceptor sees what is sent.
func (m *meter) options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.unary), grpc.WithChainStreamInterceptor(m.stream)}
}

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

func (m *meter) called(begun time.Time) {
	ended := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spans = append(m.spans, span{begun, ended})
}

// count counts documents by the full name of one, of which the last but one part is the collection.
func (m *meter) count(k kind, name string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.docs[operation{k, path.Base(path.Dir(name))}] += n
}

func (m *meter) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	defer m.called(time.Now())
	err := invoke(ctx, method, req, reply, cc, opts...)
	if commit, ok := req.(*firestorepb.CommitRequest); ok && err == nil {
		for _, w := range commit.Writes {
			m.countWrite(w)
		}
	}
	return err
}

func (m *meter) countWrite(w *firestorepb.Write) {
	switch {
	case w.GetDelete() != "":
		m.count(remove, w.GetDelete(), 1)
	case w.GetUpdateMask() != nil:
		m.count(update, w.GetUpdate().GetName(), 1)
	default:
		m.count(create, w.GetUpdate().GetName(), 1)
	}
}

func (m *meter) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	begun := time.Now()
	stream, err := open(ctx, desc, cc, method, opts...)
	return &meteredStream{ClientStream: stream, meter: m, kind: read, begun: begun}, err
}

// meteredStream counts the documents of one answer.
type meteredStream struct {
	grpc.ClientStream
	meter      *meter
	begun      time.Time
	kind       kind
	collection string // of a query
	found      int    // by a query
}

// SendMsg implements grpc.ClientStream.
func (s *meteredStream) SendMsg(msg any) error {
	switch request := msg.(type) {
	case *firestorepb.BatchGetDocumentsRequest:
		if request.GetNewTransaction() != nil {
			s.kind = readAgain
		}
	case *firestorepb.RunQueryRequest:
		s.collection = "/" + request.GetStructuredQuery().GetFrom()[0].GetCollectionId() + "/"
	case *firestorepb.RunAggregationQueryRequest:
		asked := request.GetStructuredAggregationQuery().GetStructuredQuery()
		s.meter.count(tally, "/"+asked.GetFrom()[0].GetCollectionId()+"/", 1)
	}
	return s.ClientStream.SendMsg(msg)
}

// RecvMsg implements grpc.ClientStream.
func (s *meteredStream) RecvMsg(msg any) error {
	err := s.ClientStream.RecvMsg(msg)
	if err != nil {
		s.meter.called(s.begun)
	}
	switch answer := msg.(type) {
	case *firestorepb.BatchGetDocumentsResponse:
		if name := answer.GetFound().GetName() + answer.GetMissing(); err == nil && name != "" {
			s.meter.count(s.kind, name, 1)
		}
	case *firestorepb.RunQueryResponse:
		if err == nil && answer.GetDocument() != nil || err != nil && s.found == 0 {
			s.found++
			s.meter.count(query, s.collection, 1)
		}
	}
	return err
}
