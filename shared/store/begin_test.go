package store

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// No transaction has a call only to begin, and what begins with a read is ended under the name that it was given.
func TestTransactionsBeginWithTheirFirstRead(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	doc := func(name string) *firestore.DocumentRef { return s.claims.Doc(name) }
	if _, err := doc("there").Create(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	calls := s.recorded(t)
	for name, c := range map[string]struct {
		do   func(*transaction)
		want []string
		err  error
	}{
		"relied on": {func(tx *transaction) { tx.require(doc("other"), missing); tx.create(doc("a"), nothing) },
			[]string{"BatchGetDocuments", "Commit in its transaction"}, nil},
		"does not hold": {func(tx *transaction) { tx.require(doc("other"), exists); tx.create(doc("b"), nothing) },
			[]string{"BatchGetDocuments", "Rollback in its transaction"}, keypackage.ErrConflict},
		"writes alone": {func(tx *transaction) { tx.create(doc("c"), nothing); tx.create(doc("d"), nothing) },
			[]string{"Commit"}, nil},
		"relied on, unread": {func(tx *transaction) { tx.requireMissing(doc("other")); tx.create(doc("f"), nothing) },
			[]string{"Commit"}, nil},
		"is there": {func(tx *transaction) { tx.requireMissing(doc("there")); tx.create(doc("g"), nothing) },
			[]string{"Commit"}, keypackage.ErrConflict},
		"both ways": {func(tx *transaction) {
			tx.require(doc("other"), missing)
			tx.requireMissing(doc("there"))
			tx.create(doc("h"), nothing)
		}, []string{"BatchGetDocuments", "Commit in its transaction", "Rollback in its transaction"}, keypackage.ErrConflict},
		"writes that lose": {func(tx *transaction) { tx.create(doc("e"), nothing); tx.create(doc("there"), nothing) },
			[]string{"Commit"}, keypackage.ErrConflict},
	} {
		*calls = nil
		tx := s.begin()
		c.do(tx)
		if err := tx.commit(t.Context(), name); !errors.Is(err, c.err) || !slices.Equal(*calls, c.want) {
			t.Errorf("%s: %v, calls %q", name, err, *calls)
		}
	}
	for _, lost := range []string{"e", "g", "h"} {
		if snap, _ := doc(lost).Get(t.Context()); snap.Exists() {
			t.Error("half of what lost was written")
		}
	}
	if snap, _ := doc("there").Get(t.Context()); !snap.Exists() {
		t.Error("a condition has deleted what it was about")
	}
}

// The client library repeats a commit whose answer was lost, with the same request: its conditions are in it once.
func TestARepeatedCommitIsTheSame(t *testing.T) {
	t.Parallel()
	tx, request := new(late), &firestorepb.CommitRequest{Writes: []*firestorepb.Write{{}}}
	tx.relyOn([]*firestore.DocumentRef{{Path: "a"}, {Path: "b"}})
	for range 3 {
		if tx.answers(request, nil) {
			t.Error("a commit was not sent")
		}
		writes := request.Writes
		if len(writes) != 3 || writes[1].GetDelete() != "a" || writes[2].GetDelete() != "b" {
			t.Errorf("sent %v", writes)
		}
	}
}

// The client library connects without our options where it finds an emulator by itself.
func TestConditionsHoldOverAnyConnection(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	var err error
	if s.client, err = Connect(t.Context(), strings.Split(s.claims.Path, "/")[1], "(default)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	if _, err := s.claims.Doc("there").Create(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"nothing": nil, "there": keypackage.ErrConflict} {
		tx := s.begin()
		tx.requireMissing(s.claims.Doc(name))
		tx.create(s.claims.Doc("beside "+name), nothing)
		if err := tx.commit(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s is to be missing: %v", name, err)
		}
	}
}

// recorded makes the store keep the calls that it sends.
func (s *Store) recorded(t *testing.T) *[]string {
	t.Helper()
	calls, begun := new([]string), ""
	record := func(method string, transaction []byte) {
		name := path.Base(method)
		if len(transaction) > 0 && string(transaction) == begun {
			name += " in its transaction"
		}
		*calls = append(*calls, name)
	}
	conn, err := grpc.NewClient(os.Getenv("FIRESTORE_EMULATOR_HOST"), append(DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(func(
			ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
		) error {
			named, _ := req.(interface{ GetTransaction() []byte })
			record(method, named.GetTransaction())
			return invoke(ctx, method, req, reply, conn, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(
			ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
		) (grpc.ClientStream, error) {
			record(method, nil)
			stream, err := open(ctx, desc, conn, method, opts...)
			return &namesFirst{ClientStream: stream, named: func(id []byte) { begun = string(id) }}, err
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	s.client, err = firestore.NewClient(t.Context(), strings.Split(s.claims.Path, "/")[1], option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	return calls
}

// namesFirst gives the name of a transaction in an answer of its own, as Firestore may.
type namesFirst struct {
	grpc.ClientStream
	named func([]byte)
	held  *firestorepb.BatchGetDocumentsResponse
}

func (n *namesFirst) RecvMsg(msg any) error {
	answer := msg.(*firestorepb.BatchGetDocumentsResponse)
	if n.held != nil {
		proto.Merge(answer, n.held)
		n.held = nil
		return nil
	}
	err := n.ClientStream.RecvMsg(msg)
	if err == nil && len(answer.GetTransaction()) > 0 {
		n.named(answer.GetTransaction())
	}
	if err == nil && len(answer.GetTransaction()) > 0 && answer.GetResult() != nil {
		n.held = proto.Clone(answer).(*firestorepb.BatchGetDocumentsResponse)
		n.held.Transaction, answer.Result = nil, nil
	}
	return err
}
