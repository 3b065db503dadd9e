package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// raisedLimits are settings under which the limits measure nothing: a limited request is a cheap one.
var raisedLimits = map[string]string{"PAIR_LIMIT_PER_HOUR": "10000", "OWNER_BUDGET_PER_HOUR": "100000"}

// database is a Firestore database with the settings under which the functions would use it.
type database struct {
	config.Config
	client *firestore.Client
	wire   *wire // that it is reached by
}

// newDatabase returns a database that is empty. Options are for the client, to look at what it sends.
func (b *bench) newDatabase(ctx context.Context, options ...grpc.DialOption) (*database, error) {
	return b.openDatabase(ctx, "bench-"+strings.ToLower(rand.Text()[:20]), options...)
}

func (b *bench) openDatabase(ctx context.Context, project string, options ...grpc.DialOption) (*database, error) {
	settings := maps.Clone(raisedLimits)
	settings[config.Project] = project
	cfg, err := config.Load(func(name string) (string, bool) { value, ok := settings[name]; return value, ok })
	if err != nil {
		return nil, err
	}
	options = append(slices.Concat(store.DialOptions(), options), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(b.wire.Addr().String(), options...)
	if err != nil {
		return nil, err
	}
	client, err := firestore.NewClientWithDatabase(ctx, cfg.Project, cfg.Database, option.WithGRPCConn(conn))
	return &database{cfg, client, b.wire}, err
}

func (db *database) store() *store.Store { return store.New(db.client, db.Collections, db.Policy) }

func (db *database) in(collection, id string) *firestore.DocumentRef {
	return db.client.Collection(collection).Doc(id)
}

func (db *database) claimer(publisher claiming.Publisher, now func() time.Time) *claiming.Claimer {
	return assembly.NewClaimer(db.Config, db.store(), publisher, keypackage.ModeDeliver, now)
}

// put writes n documents with their ids fast. They come when it is their turn, because all of them would be too many at a time.
func (db *database) put(ctx context.Context, collection string, n int, next func(i int) (string, any, error)) error {
	const atOnce = 500 // small enough for Firestore's limit on the size of a commit
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for from := 0; from < n; from += atOnce {
		group.Go(func() error {
			return db.client.RunTransaction(ctx, func(_ context.Context, tx *firestore.Transaction) (err error) {
				for i := from; i < min(from+atOnce, n) && err == nil; i++ {
					var id string
					var fields any
					if id, fields, err = next(i); err == nil {
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
func (db *database) newOwners(ctx context.Context, owners, packages int) ([]actors.Key, error) {
	keys := make([]actors.Key, owners)
	for i := range keys {
		keys[i] = actors.NewKey()
	}
	now := nostr.Now()
	return keys, db.put(ctx, db.Collections.KeyPackages, owners*packages, func(i int) (string, any, error) {
		created := now - nostr.Timestamp(packages-i%packages)
		event, err := actors.NewKeyPackage(keys[i/packages], "ws://relay.example", created, mlsgen.Options{})
		if err != nil {
			return "", nil, err
		}
		return event.ID, map[string]any{
			keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
			keypackage.FieldCiphersuite: "0x0001", keypackage.FieldCreatedAt: int64(event.CreatedAt),
			keypackage.FieldEvent: event.String(),
		}, nil
	})
}

// requests stores requests of as many requesters, so many for one package of each new owner in turn, and returns them as they
// come with their triggers. The wire does not delay it.
func (b *bench) requests(ctx context.Context, db *database, owners, stock, each int) ([]keypackage.RequestDocument, error) {
	documents := make([]keypackage.RequestDocument, owners*each)
	return documents, b.wire.without(func() error {
		keys, err := db.newOwners(ctx, owners, stock)
		if err != nil {
			return err
		}
		return db.put(ctx, db.Collections.Requests, len(documents), func(i int) (string, any, error) {
			event := actors.NewRequest(actors.Question{Owners: []string{keys[i%owners].Pubkey}})
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
	})
}

// clear removes everything from a database.
func (db *database) clear(ctx context.Context) error {
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/databases/%s/documents", db.wire.Addr(), db.Project, db.Database)
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
	_ = db.clear(context.WithoutCancel(ctx)) // it is only about memory
}

// stocked is a database with owners who are asked in turn.
type stocked struct {
	db     *database
	owners []actors.Key // each is asked by several requesters, never by one twice while a delivery is open
	asked  atomic.Int64
}

// packagesPerOwner is a usual stock. requestsPerOwner of them are asked for: the rest keeps claims in the usual case.
const (
	packagesPerOwner = 10
	requestsPerOwner = 4
)

// restock implements design.
func (s *stocked) restock(ctx context.Context, requests int) (err error) {
	if err := s.db.clear(ctx); err != nil {
		return err
	}
	s.owners, err = s.db.newOwners(ctx, requests/requestsPerOwner+1, packagesPerOwner)
	return err
}

// owner is whom the next request asks for.
func (s *stocked) owner() string { return s.owners[int(s.asked.Add(1))%len(s.owners)].Pubkey }

// wire lies between Firestore's clients and the emulator and adds a round-trip time, as a network does: what is sent at the
// same time arrives at the same time, so that only what waits for an answer takes longer.
type wire struct {
	net.Listener
	oneWay atomic.Int64 // nanoseconds
}

func newWire(emulator string) (*wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{Listener: listener}
	go func() {
		for client, err := w.Accept(); err == nil; client, err = w.Accept() {
			server, err := net.Dial("tcp", emulator)
			if err != nil {
				_ = client.Close()
				continue
			}
			go w.carry(server, client)
			go w.carry(client, server)
		}
	}()
	return w, nil
}

// set chooses the round-trip time.
func (w *wire) set(rtt time.Duration) { w.oneWay.Store(int64(rtt / 2)) }

// without runs f without delay: what prepares a measurement is not measured.
func (w *wire) without(f func() error) error {
	defer w.oneWay.Store(w.oneWay.Swap(0))
	return f()
}

// carry hands on what comes, late and in order, until one side ends.
func (w *wire) carry(to, from net.Conn) {
	type chunk struct {
		data []byte
		due  time.Time
	}
	underWay := make(chan chunk, 1024)
	go func() {
		defer close(underWay)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			underWay <- chunk{data[:n], time.Now().Add(time.Duration(w.oneWay.Load()))}
			if err != nil {
				return
			}
		}
	}()
	for c := range underWay {
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.data); err != nil {
			_ = from.Close() // the rest is read and dropped
		}
	}
	_ = to.Close()
}
