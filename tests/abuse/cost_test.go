package abuse

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// bill counts the documents that a client reads and writes, by collection, as Firestore charges them: a document that is
// looked up and missing is a read, a document that a query or a lookup returns is one, a deletion is a write.
type bill struct {
	mu            sync.Mutex
	reads, writes map[string]int
	empty         int // queries that find nothing, each of which is charged as a read
	calls         int
}

func (b *bill) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads, b.writes, b.empty, b.calls = map[string]int{}, map[string]int{}, 0, 0
}

func (b *bill) count(in map[string]int, name string) {
	parts := strings.Split(name, "/") // projects/P/databases/D/documents/COLLECTION/ID
	in[parts[5]]++
}

// connect opens a counted connection to the emulator.
func (b *bill) connect(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(os.Getenv("FIRESTORE_EMULATOR_HOST"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(b.unary), grpc.WithChainStreamInterceptor(b.stream))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (b *bill) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if commit, ok := req.(*firestorepb.CommitRequest); ok && err == nil {
		for _, w := range commit.GetWrites() {
			b.count(b.writes, max(w.GetDelete(), w.GetUpdate().GetName()))
		}
	}
	return err
}

func (b *bill) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	return &counted{ClientStream: s, bill: b, nothing: strings.HasSuffix(method, "/RunQuery")}, err
}

type counted struct {
	grpc.ClientStream
	bill    *bill
	nothing bool // a query that has found nothing so far
}

func (c *counted) RecvMsg(m any) error {
	err := c.ClientStream.RecvMsg(m)
	c.bill.mu.Lock()
	defer c.bill.mu.Unlock()
	if err != nil {
		if c.nothing && errors.Is(err, io.EOF) {
			c.bill.empty, c.nothing = c.bill.empty+1, false
		}
		return err
	}
	switch answer := m.(type) {
	case *firestorepb.BatchGetDocumentsResponse:
		if name := max(answer.GetMissing(), answer.GetFound().GetName()); name != "" {
			c.bill.count(c.bill.reads, name)
		}
	case *firestorepb.RunAggregationQueryResponse:
		c.bill.reads["(counts)"]++
	case *firestorepb.RunQueryResponse:
		if name := answer.GetDocument().GetName(); name != "" {
			c.nothing = false
			c.bill.count(c.bill.reads, name)
		}
	}
	return nil
}

func total(counts map[string]int) int {
	sum := 0
	for n := range maps.Values(counts) {
		sum += n
	}
	return sum
}

// TestCostOfAClaim counts the documents of claims by what they ask and meet. The limits cost what is read and written of
// pairs and owners, and must stay within two documents each way, whatever the stock.
func TestCostOfAClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var b bill
	b.reset()
	client, err := firestore.NewClientWithDatabase(t.Context(), w.Project, w.Database,
		option.WithGRPCConn(b.connect(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	claimer := w.newClaimer(store.New(client, w.Collections, w.Policy))
	alice := actors.NewKey()
	limits := []string{w.Collections.Pairs, w.Collections.Owners}

	t.Log("| claim | reads + those of the limits | writes + those of the limits | RPCs |")
	for _, test := range []struct {
		name  string
		stock int // packages of an owner
		asker actors.Key
		q     actors.Question
	}{
		{"one of 1 (the reserve)", 1, actors.NewKey(), actors.Question{}},
		{"one of 2", 2, actors.NewKey(), actors.Question{}},
		{"one of 20", 20, actors.NewKey(), actors.Question{}},
		{"one of 200", 200, alice, actors.Question{}},
		{"again, joined", 0, alice, actors.Question{}},
		{"ten of 200", 200, actors.NewKey(), actors.Question{Min: 10}},
		{"one of 200, kind 30443 first", 200, actors.NewKey(), actors.Question{Kind: keypackage.KindAddressableKeyPackage}},
		{"one of none", -1, actors.NewKey(), actors.Question{}},
	} {
		if test.stock != 0 {
			w.bob = actors.NewKey()
		}
		if test.stock > 0 {
			w.PutPackages(fixture.Packages(t, w.bob, test.stock)...)
		}
		b.reset()
		if _, err := w.askOf(claimer, test.asker, test.q); err != nil {
			t.Fatal(err)
		}
		var limited [2]int
		for _, collection := range limits {
			limited[0] += b.reads[collection]
			limited[1] += b.writes[collection]
		}
		reads, writes := total(b.reads), total(b.writes)
		t.Logf("| %s | %d + %d | %d + %d | %d |",
			test.name, reads-limited[0], limited[0], writes-limited[1], limited[1], b.calls)
		if limited[0] > 2 || limited[1] > 2 {
			t.Errorf("%s: the limits cost %d reads and %d writes", test.name, limited[0], limited[1])
		}
	}
}
