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
	if err != nil {
		return nil, fmt.Errorf("connect to the Firestore emulator: %w", err)
	}
	return &database{cfg, client}, nil
}

func (db *database) store() *store.Store { return store.New(db.client, db.Collections, db.Policy) }

// writeBatch is small enough for Firestore's limit on the size of a commit.
const writeBatch = 500

// put writes many documents fast. They are made when their turn comes, because all of them would be too many at a time.
func (db *database) put(ctx context.Context, n int, document func(i int) (path string, data any, err error)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for from := 0; from < n; from += writeBatch {
		group.Go(func() error {
			return db.client.RunTransaction(ctx, func(_ context.Context, tx *firestore.Transaction) error {
				for i := from; i < min(from+writeBatch, n); i++ {
					path, data, err := document(i)
					if err == nil {
						err = tx.Set(db.client.Doc(path), data)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	return group.Wait()
}

// newOwners returns owners with that many real packages each.
func (db *database) newOwners(ctx context.Context, owners, packages int) ([]string, error) {
	keys := make([]actors.Key, owners)
	pubkeys := make([]string, owners)
	for i := range keys {
		keys[i] = actors.NewKey()
		pubkeys[i] = keys[i].Pubkey
	}
	now := time.Now().Unix()
	err := db.put(ctx, owners*packages, func(i int) (string, any, error) {
		document, err := packageDocument(keys[i/packages], nostr.Timestamp(now-int64(packages-i%packages)))
		return db.Collections.KeyPackages + "/" + document.Text(keypackage.FieldEventID), document, err
	})
	return pubkeys, err
}

// packageDocument is a package as the relay stores it.
func packageDocument(owner actors.Key, created nostr.Timestamp) (keypackage.Document, error) {
	event, err := actors.NewKeyPackage(owner, "ws://relay.example", created, mlsgen.Options{})
	if err != nil {
		return nil, err
	}
	return keypackage.Document{
		keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
		keypackage.FieldCiphersuite: "0x0001", keypackage.FieldCreatedAt: int64(event.CreatedAt),
		keypackage.FieldEvent: event.String(), "extensions": []string{}, "relays": []string{},
	}, nil
}

// newRequests returns n requests of as many requesters for one package, of each of the owners in turn, stored as by the
// relay.
func (db *database) newRequests(ctx context.Context, n int, owners []string) ([]keypackage.RequestDocument, error) {
	requests := make([]keypackage.RequestDocument, n)
	err := db.put(ctx, n, func(i int) (string, any, error) {
		event := actors.NewRequest(actors.Question{Owners: []string{owners[i%len(owners)]}})
		if err := actors.NewKey().Sign(event); err != nil {
			return "", nil, err
		}
		requests[i] = keypackage.RequestDocument{
			ID: event.ID, Event: event.String(), Kind: keypackage.KindRequest, HasKind: true, Marked: true, ReceivedAt: time.Now(),
		}
		return db.Collections.Requests + "/" + event.ID, map[string]any{
			keypackage.FieldEvent: requests[i].Event, keypackage.FieldKind: keypackage.KindRequest, "pubkey": event.PubKey,
			"created_at": int64(event.CreatedAt), keypackage.FieldReceivedAt: requests[i].ReceivedAt,
			keypackage.FieldOpen: keypackage.NewMark(),
		}, nil
	})
	return requests, err
}

// oldest finds an owner's oldest packages.
func (db *database) oldest(owner string, limit int) firestore.Query {
	return db.client.Collection(db.Collections.KeyPackages).Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc).Limit(limit)
}

// idLength is that of an event's id, in characters.
const idLength = 64

func newID() string {
	var id [idLength / 2]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
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

// drop ends the use of a database, so that the emulator's memory does not fill up with what is done with.
func (db *database) drop(ctx context.Context) {
	_ = db.client.Close()
	_ = db.clear(ctx) // it is only about memory
}
