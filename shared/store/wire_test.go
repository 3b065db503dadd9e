package store_test

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// wire decides, by a call's method, what Firestore answers instead of doing it; nil lets it do it.
type wire func(method string) error

// over returns a store of the same database over a connection with faults, made like the one in production.
func (w *world) over(fails wire) *store.Store {
	w.t.Helper()
	conn, err := grpc.NewClient(os.Getenv("FIRESTORE_EMULATOR_HOST"), append(store.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(func(
			ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
		) error {
			if err := fails(path.Base(method)); err != nil {
				return err
			}
			return invoke(ctx, method, req, reply, conn, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(
			ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
		) (grpc.ClientStream, error) {
			if err := fails(path.Base(method)); err != nil {
				return nil, err
			}
			return open(ctx, desc, conn, method, opts...)
		}))...)
	w.must(err)
	client, err := firestore.NewClientWithDatabase(w.t.Context(), w.Project, w.Database, option.WithGRPCConn(conn))
	w.must(err)
	w.t.Cleanup(func() { _ = client.Close() })
	return store.New(client, w.Collections, w.Policy)
}

// on answers the calls of one method with an error.
func on(method string, code codes.Code, text string) wire {
	return func(called string) error {
		if called == method {
			return status.Error(code, text)
		}
		return nil
	}
}

// A read that fails says why, whatever Firestore's code for it: only a commit can lose a race. A missing index or database
// has the codes with which a commit loses one.
func TestReadsThatFailKeepTheirCause(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	reads := map[string]func(*store.Store) error{
		"RunQuery": func(db *store.Store) error {
			_, err := db.Oldest(t.Context(), s.bob.Pubkey, nil, 1)
			return err
		},
		"BatchGetDocuments": func(db *store.Store) error {
			_, err := db.View(t.Context(), s.bob.Pubkey, s.units)
			return err
		},
	}
	for method, read := range reads {
		for _, code := range []codes.Code{codes.FailedPrecondition, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied} {
			err := read(s.over(on(method, code, "the query requires an index")))
			if errors.Is(err, keypackage.ErrConflict) || fault.Reason(err) != "firestore" || !fault.IsRetryable(err) ||
				!strings.Contains(err.Error(), "the query requires an index") {
				t.Errorf("%s fails with %s: %v", method, code, err)
			}
		}
	}
	// Inside the transaction, too; there, an aborted read has lost against a writer.
	inside := func(code codes.Code) error {
		return s.over(on("BatchGetDocuments", code, "no index")).Commit(t.Context(), s.plan)
	}
	if err := inside(codes.FailedPrecondition); errors.Is(err, keypackage.ErrConflict) || fault.Reason(err) != "firestore" {
		t.Errorf("read in a transaction: %v", err)
	}
	if err := inside(codes.Aborted); !errors.Is(err, keypackage.ErrConflict) {
		t.Errorf("aborted read in a transaction: %v", err)
	}
}

// A claim whose reads fail is no lost race that is run again and again.
func TestMissingIndexEndsAClaim(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	queries := 0
	db := s.over(func(method string) error {
		if method != "RunQuery" {
			return nil
		}
		queries++
		return status.Error(codes.FailedPrecondition, "the query requires an index")
	})
	claimer := claiming.New(db, nil, claiming.Settings{
		Limits: claiming.Limits{DeliveryTTL: deliveryTTL, PairLimitPerHour: 10, OwnerBudgetPerHour: 100},
		Mode:   keypackage.ModeDeliver, MaxPerOwner: 10, RequestMaxAge: time.Hour,
	}, time.Now)
	_, err := claimer.Claim(t.Context(), fixture.Request(t, s.carol, s.question()))
	if err == nil || fault.Reason(err) != "firestore" || !strings.Contains(err.Error(), "the query requires an index") || queries > 3 {
		t.Errorf("after %d queries: %v", queries, err)
	}
}

// A lost race comes back at once. The client library would sleep before it says that no attempt is left; in this test it
// would then find its context ended, for that happens at the last call before.
func TestLostRaceIsNotSleptOn(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	for _, aborted := range []string{"Commit", "BatchGetDocuments"} {
		ctx, cancel := context.WithCancel(t.Context())
		db := s.over(func(method string) error {
			if method == "Rollback" {
				cancel()
			}
			return on(aborted, codes.Aborted, "Too much contention on these documents.")(method)
		})
		if err := db.Commit(ctx, s.plan); !errors.Is(err, keypackage.ErrConflict) {
			t.Errorf("%s is aborted: %v", aborted, err)
		}
	}
}
