package store

import (
	"context"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Connect opens a client for New. The context bounds the set-up only.
func Connect(ctx context.Context, project, database string) (*firestore.Client, error) {
	var options []option.ClientOption
	for _, dial := range DialOptions() {
		options = append(options, option.WithGRPCDialOption(dial))
	}
	return firestore.NewClientWithDatabase(ctx, project, database, options...)
}

// DialOptions are what a connection needs for transactions to be fast: they begin with their first read, and lose at once. A Store works
// without. The alternative, the generated client of package apiv1, has both; but it cannot encode a document.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(beginByReading)}
}

// unary sends a call, if it has to be sent.
func unary(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if tx, ok := ctx.Value(lateKey{}).(*late); ok && tx.answers(req, reply) {
		return nil
	}
	return lostAtOnce(invoke(ctx, method, req, reply, conn, opts...))
}

// lostAtOnce tells a lost race as soon as it is lost. Firestore answers most of them with ABORTED, which
// [firestore.Client.RunTransaction] takes for an order to run the function again: it first sleeps up to a second, even if no attempt is
// left. Whoever lost has to decide anew, and knows better how long to wait. FAILED_PRECONDITION, the other word for it, it hands on.
func lostAtOnce(err error) error {
	if answer := status.Convert(err); answer.Code() == codes.Aborted {
		return status.Error(codes.FailedPrecondition, answer.Message())
	}
	return err
}

// Firestore begins a transaction together with its first read (BatchGetDocumentsRequest.new_transaction), and a commit
// without reads needs none: its writes and their conditions hold together or not at all. The client library makes a call
// of its own to begin, which is a round trip in every claim and push. So its call is answered here, and what follows of
// the same transaction, which its context shows, is told the real name.
//
// What must not exist is not read, either. It is deleted under the condition that it does not exist, which changes nothing and costs a
// third. The API has that condition for every write (Write.current_document, Precondition.exists: "When set to false, the target document
// must not exist"); its client library for Node offers it for deletes, the one for Go does not.

// late is a transaction of the client library that begins with its first read. Its calls come one after another.
type late struct {
	seen   bool     // its calls pass here
	id     []byte   // nil until it has begun
	absent []string // full names of what must not exist
}

type lateKey struct{}

// relyOn makes the commit fail if one of the documents exists. It returns false where that cannot be done.
func (l *late) relyOn(absent []*firestore.DocumentRef) bool {
	for _, ref := range absent {
		l.absent = append(l.absent, ref.Path)
	}
	return l.seen
}

// notBegun is what the client library is told instead of the name.
var notBegun = []byte("not begun")

// answers answers BeginTransaction, and a Rollback of what never began, without a call. It tells the others the real name.
func (l *late) answers(req, reply any) bool {
	switch r := req.(type) {
	case *firestorepb.BeginTransactionRequest:
		l.seen = true
		reply.(*firestorepb.BeginTransactionResponse).Transaction = notBegun
		return true
	case *firestorepb.CommitRequest:
		r.Transaction = l.id
		for _, name := range l.absent {
			r.Writes = append(r.Writes, &firestorepb.Write{
				Operation:       &firestorepb.Write_Delete{Delete: name},
				CurrentDocument: &firestorepb.Precondition{ConditionType: &firestorepb.Precondition_Exists{Exists: false}},
			})
		}
		l.absent = nil // the call may be repeated, with the same request
	case *firestorepb.RollbackRequest:
		r.Transaction = l.id
		return l.id == nil
	}
	return false
}

// beginByReading makes the first read of a transaction begin it.
func beginByReading(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, opts...)
	if tx, ok := ctx.Value(lateKey{}).(*late); ok && err == nil {
		return &beginning{stream, tx}, nil
	}
	return stream, err
}

// beginning is a read of a transaction.
type beginning struct {
	grpc.ClientStream
	tx *late
}

// SendMsg implements grpc.ClientStream. Without a mode the transaction would be read-only.
func (b *beginning) SendMsg(msg any) error {
	if r, ok := msg.(*firestorepb.BatchGetDocumentsRequest); ok && b.tx.id == nil {
		readWrite := &firestorepb.TransactionOptions_ReadWrite_{ReadWrite: new(firestorepb.TransactionOptions_ReadWrite)}
		r.ConsistencySelector = &firestorepb.BatchGetDocumentsRequest_NewTransaction{
			NewTransaction: &firestorepb.TransactionOptions{Mode: readWrite},
		}
	} else if ok {
		r.ConsistencySelector = &firestorepb.BatchGetDocumentsRequest_Transaction{Transaction: b.tx.id}
	}
	return b.ClientStream.SendMsg(msg)
}

// RecvMsg implements grpc.ClientStream. The first answer names the transaction; the client library would not understand one that
// holds nothing else.
func (b *beginning) RecvMsg(msg any) error {
	for {
		err := b.ClientStream.RecvMsg(msg)
		answer, ok := msg.(*firestorepb.BatchGetDocumentsResponse)
		if err != nil || !ok {
			return err
		}
		if len(answer.GetTransaction()) > 0 {
			b.tx.id = answer.GetTransaction()
		}
		if answer.GetResult() != nil {
			return nil
		}
	}
}
