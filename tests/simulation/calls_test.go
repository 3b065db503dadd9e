package simulation

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// faulty are the options with which a Firestore client's connection is made, so that its calls can go wrong. The name of a call
// is its method and the collection that it is about first.
var faulty = []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}

// unary notes a commit that took effect before its caller learns of it, whatever that is.
func unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	i := invocationOf(ctx)
	commit, commits := req.(*firestorepb.CommitRequest)
	do := func() error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if commits && err == nil {
			committed(ctx, commit, reply.(*firestorepb.CommitResponse))
		}
		if i != nil {
			i.follow(req, err)
		}
		return err
	}
	if i == nil {
		return do()
	}
	return i.call(nameOf(method, req), databaseTimeout, len(commit.GetTransaction()) > 0, do)
}

// follow takes from the list of the invocation's open transactions what has ended.
func (i *Invocation) follow(req any, err error) {
	if err != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch r := req.(type) {
	case *firestorepb.CommitRequest:
		delete(i.transactions, string(r.GetTransaction()))
	case *firestorepb.RollbackRequest:
		delete(i.transactions, string(r.GetTransaction()))
	}
}

// opened adds to the list of the invocation's open transactions.
func (i *Invocation) opened(id []byte, undo func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.transactions == nil { // the caller crashed meanwhile
		undo()
		return
	}
	i.transactions[string(id)] = undo
}

func rollback(ctx context.Context, cc *grpc.ClientConn, database string, id []byte) {
	headers, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewOutgoingContext(context.Background(), headers)
	// Its failure means that the database has rolled the transaction back already.
	_ = cc.Invoke(ctx, "/google.firestore.v1.Firestore/Rollback",
		&firestorepb.RollbackRequest{Database: database, Transaction: id}, new(emptypb.Empty))
}

// stream makes a call with a stream of answers one call: it begins when the first answer is asked for, and all answers are
// there before the first is given.
func stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	i := invocationOf(ctx)
	if i == nil {
		return open(ctx, desc, cc, method, opts...)
	}
	opened := func(ctx context.Context) (grpc.ClientStream, error) { return open(ctx, desc, cc, method, opts...) }
	return &held{ctx: ctx, conn: cc, invocation: i, method: method, open: opened, undo: func() {}}, nil
}

// held is a server's stream whose answers are held back until all are there. One goroutine uses it.
type held struct {
	grpc.ClientStream // nil: its other methods are not used by the Firestore client
	ctx               context.Context
	conn              *grpc.ClientConn
	invocation        *Invocation
	method            string
	open              func(context.Context) (grpc.ClientStream, error)
	request           proto.Message
	done              bool
	answers           []proto.Message
	undo              func() // of the transaction that it began, whose name the caller never learns if the call fails
	err               error
}

func (h *held) Context() context.Context     { return h.ctx }
func (h *held) CloseSend() error             { return nil }
func (h *held) Header() (metadata.MD, error) { return nil, nil }
func (h *held) Trailer() metadata.MD         { return nil }

func (h *held) SendMsg(m any) error {
	h.request = proto.Clone(m.(proto.Message))
	return nil
}

func (h *held) RecvMsg(m any) error {
	into := m.(proto.Message)
	if !h.done {
		h.done = true
		h.err = h.invocation.call(nameOf(h.method, h.request), databaseTimeout, false, func() error { return h.read(into) })
		if h.err != nil {
			h.answers = nil
			h.undo()
		}
	}
	if len(h.answers) == 0 {
		if h.err != nil {
			return h.err
		}
		return io.EOF
	}
	proto.Reset(into)
	proto.Merge(into, h.answers[0])
	h.answers = h.answers[1:]
	return nil
}

// read makes the call and keeps its answers, which are of the type of like.
func (h *held) read(like proto.Message) error {
	ctx := h.ctx
	if beginsTransaction(h.request) { // even if the caller gives up meanwhile, its locks must not stay
		ctx = context.WithoutCancel(ctx)
	}
	s, err := h.open(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(s.SendMsg(h.request), s.CloseSend()); err != nil {
		return err
	}
	for {
		answer := like.ProtoReflect().New().Interface()
		if err := s.RecvMsg(answer); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		h.answers = append(h.answers, answer)
		if first, ok := answer.(*firestorepb.BatchGetDocumentsResponse); ok && len(first.GetTransaction()) > 0 {
			database := h.request.(*firestorepb.BatchGetDocumentsRequest).GetDatabase()
			h.undo = func() { rollback(h.ctx, h.conn, database, first.GetTransaction()) }
			h.invocation.opened(first.GetTransaction(), h.undo)
		}
	}
}

func beginsTransaction(request any) bool {
	r, ok := request.(*firestorepb.BatchGetDocumentsRequest)
	return ok && r.GetNewTransaction() != nil
}

// nameOf is the method and the collection that the call is about first.
func nameOf(method string, req any) string {
	name := path.Base(method)
	if collection := collectionOf(req); collection != "" {
		name += " " + collection
	}
	return name
}

func collectionOf(req any) string {
	switch r := req.(type) {
	case *firestorepb.BatchGetDocumentsRequest:
		if beginsTransaction(r) {
			return "in transaction"
		}
		return path.Base(path.Dir(r.GetDocuments()[0]))
	case *firestorepb.RunQueryRequest:
		return r.GetStructuredQuery().GetFrom()[0].GetCollectionId()
	case *firestorepb.CommitRequest:
		if len(r.GetWrites()) > 0 {
			first := r.GetWrites()[0]
			return path.Base(path.Dir(cmp.Or(first.GetDelete(), first.GetUpdate().GetName())))
		}
	}
	return ""
}
