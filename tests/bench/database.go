package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// database is a Firestore database with the settings under which the functions would use it.
type database struct {
	config.Config
	client *firestore.Client
}

// newDatabase returns a database that is empty. Options are for the client, to look at what it sends.
func newDatabase(ctx context.Context, options ...grpc.DialOption) (*database, error) {
	return openDatabase(ctx, "bench-"+strings.ToLower(rand.Text()[:20]), options...)
}

func openDatabase(ctx context.Context, project string, options ...grpc.DialOption) (*database, error) {
	cfg, err := config.Load(func(name string) (string, bool) {
		if name == config.Project {
			return project, true
		}
		value, ok := raisedLimits[name]
		return value, ok
	})
	if err != nil {
		return nil, err
	}
	options = slices.Concat(store.DialOptions(), options, []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())})
	conn, err := grpc.NewClient(os.Getenv("FIRESTORE_EMULATOR_HOST"), options...)
	if err != nil {
		return nil, err
	}
	client, err := firestore.NewClientWithDatabase(ctx, cfg.Project, cfg.Database, option.WithGRPCConn(conn))
	return &database{cfg, client}, err
}

func (db *database) store() *store.Store { return store.New(db.client, db.Collections, db.Policy) }

func (db *database) in(collection, id string) *firestore.DocumentRef {
	return db.client.Collection(collection).Doc(id)
}

func (db *database) claimer(store claiming.Store, publisher claiming.Publisher, now func() time.Time) *claiming.Claimer {
	return claiming.New(store, publisher, claiming.Settings{
		Limits: claiming.Limits{
			DeliveryTTL: db.DeliveryTTL, PairLimitPerHour: db.PairLimitPerHour, OwnerBudgetPerHour: db.OwnerBudgetPerHour,
		},
		Mode: keypackage.ModeDeliver, MaxPerOwner: db.MaxPerOwner, RequestMaxAge: db.RequestMaxAge,
	}, now)
}

// writeBatch is small enough for Firestore's limit on the size of a commit.
const writeBatch = 500

// put writes many documents fast. They are made when their turn comes, because all of them would be too many at a time.
func (db *database) put(
	ctx context.Context, collection string, n int, document func(i int) (id string, fields map[string]any, err error),
) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for from := 0; from < n; from += writeBatch {
		group.Go(func() error {
			return db.client.RunTransaction(ctx, func(_ context.Context, tx *firestore.Transaction) (err error) {
				for i := from; i < min(from+writeBatch, n) && err == nil; i++ {
					var id string
					var fields map[string]any
					if id, fields, err = document(i); err == nil {
						err = tx.Set(db.in(collection, id), fields)
					}
				}
				return err
			})
		})
	}
	return group.Wait()
}

// newOwners returns owners with that many real packages each.
func (db *database) newOwners(ctx context.Context, owners, packages int) ([]string, error) {
	keys, pubkeys := make([]actors.Key, owners), make([]string, owners)
	for i := range keys {
		keys[i] = actors.NewKey()
		pubkeys[i] = keys[i].Pubkey
	}
	now := time.Now().Unix()
	return pubkeys, db.put(ctx, db.Collections.KeyPackages, owners*packages, func(i int) (string, map[string]any, error) {
		created := nostr.Timestamp(now - int64(packages-i%packages))
		event, err := actors.NewKeyPackage(keys[i/packages], "ws://relay.example", created, mlsgen.Options{})
		if err != nil {
			return "", nil, err
		}
		return event.ID, map[string]any{
			keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
			keypackage.FieldCiphersuite: "0x0001", keypackage.FieldCreatedAt: int64(event.CreatedAt),
			keypackage.FieldEvent: event.String(), "extensions": []string{}, "relays": []string{},
		}, nil
	})
}

// newRequests returns n requests of as many requesters for one package, of each of the owners in turn, stored as by the
// relay.
func (db *database) newRequests(ctx context.Context, n int, owners []string) ([]keypackage.RequestDocument, error) {
	documents := make([]keypackage.RequestDocument, n)
	return documents, db.put(ctx, db.Collections.Requests, n, func(i int) (string, map[string]any, error) {
		event := actors.NewRequest(actors.Question{Owners: []string{owners[i%len(owners)]}})
		if err := actors.NewKey().Sign(event); err != nil {
			return "", nil, err
		}
		fields := map[string]any{
			keypackage.FieldEvent: event.String(), keypackage.FieldKind: int64(event.Kind), "pubkey": event.PubKey,
			keypackage.FieldCreatedAt: int64(event.CreatedAt), keypackage.FieldReceivedAt: time.Now(),
			keypackage.FieldOpen: int64(keypackage.NewMark()),
		}
		documents[i] = keypackage.ReadRequestDocument(event.ID, fields, time.Now())
		return event.ID, fields, nil
	})
}

func newID() string {
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// clear removes everything from a database.
func (db *database) clear(ctx context.Context) error {
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/databases/%s/documents",
		os.Getenv("FIRESTORE_EMULATOR_HOST"), db.Project, db.Database)
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("clear a database: %w", err)
	}
	return response.Body.Close()
}

// restock removes everything from the database and returns owners with stock for so many requests.
func (db *database) restock(ctx context.Context, requests int) ([]string, error) {
	if err := db.clear(ctx); err != nil {
		return nil, err
	}
	return db.newOwners(ctx, requests/requestsPerOwner+1, packagesPerOwner)
}

// drop ends the use of a database, so that the emulator's memory does not fill up with what is done with.
func (db *database) drop(ctx context.Context) {
	_ = db.client.Close()
	_ = db.clear(context.WithoutCancel(ctx)) // it is only about memory
}
