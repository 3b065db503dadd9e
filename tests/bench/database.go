package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/tests/fixture"
)

// raisedLimits are settings under which the limits measure nothing: a limited request is a cheap one.
var raisedLimits = map[string]string{"PAIR_LIMIT_PER_HOUR": "10000", "OWNER_BUDGET_PER_HOUR": "100000"}

// database is a Firestore database with the settings under which the functions would use it.
type database struct {
	*bench
	config.Config
	client *firestore.Client
}

// open returns the database of a project; "" makes up a new one. Options are for the client, to look at what it sends.
func (b *bench) open(project string, options ...grpc.DialOption) *database {
	settings := maps.Clone(raisedLimits)
	settings[config.Project] = cmp.Or(project, "bench-"+strings.ToLower(rand.Text()[:20]))
	cfg, err := config.Load(func(name string) (string, bool) { value, ok := settings[name]; return value, ok })
	b.must(err)
	client, err := fixture.Connect(cfg, b.wire.Addr().String(), options...)
	b.must(err)
	return &database{b, cfg, client}
}

func (db *database) store() *store.Store { return store.New(db.client, db.Collections, db.Policy) }

func (db *database) claimer(publisher claiming.Publisher, now func() time.Time) *claiming.Claimer {
	return assembly.NewClaimer(db.Config, db.store(), publisher, keypackage.ModeDeliver, now)
}

// populate adds owners with so many real packages each, and so many requests for one package of each, which it returns as they
// come with their triggers, the owners in turn. The wire does not delay it.
func (db *database) populate(ctx context.Context, owners, packages, each int) ([]actors.Key, []keypackage.RequestDocument) {
	defer db.wire.pause()()
	keys, requests := make([]actors.Key, owners), make([]keypackage.RequestDocument, owners*each)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for i := range keys {
		group.Go(func() error {
			keys[i] = actors.NewKey()
			stock, err := fixture.NewPackages(keys[i], packages)
			if err != nil {
				return err
			}
			documents := fixture.Stock(db.Config, stock...)
			for j := i; j < len(requests); j += owners {
				fields, request, err := fixture.NewRequest(actors.NewKey(), actors.Question{Owners: []string{keys[i].Pubkey}})
				if err != nil {
					return err
				}
				requests[j], documents[db.Collections.Requests+"/"+request.ID] = request, fields
			}
			return documents.Write(ctx, db.client)
		})
	}
	db.must(group.Wait())
	return keys, requests
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
	*database
	owners []actors.Key // each is asked by several requesters, never by one twice while a delivery is open
	asked  atomic.Int64
}

// packagesPerOwner is a usual stock. requestsPerOwner of them are asked for: the rest keeps claims in the usual case.
const packagesPerOwner, requestsPerOwner = 10, 4

// restock empties the database and gives it a stock for so many requests: the emulator's queries look at every document, which
// Firestore's do not, so what earlier rounds have left would be most of what is measured.
func (s *stocked) restock(ctx context.Context, requests int) {
	s.must(s.clear(ctx))
	s.owners, _ = s.populate(ctx, requests/requestsPerOwner+1, packagesPerOwner, 0)
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

// pause takes the delay away until resume is called: what prepares a measurement is not measured.
func (w *wire) pause() (resume func()) {
	oneWay := w.oneWay.Swap(0)
	return func() { w.oneWay.Store(oneWay) }
}

// carry hands on what comes, late and in order, until one side ends.
func (w *wire) carry(to, from net.Conn) {
	writes := make(chan func(), 1024)
	defer close(writes)
	go func() {
		defer to.Close()
		for write := range writes {
			write()
		}
	}()
	for {
		data := make([]byte, 32<<10)
		n, err := from.Read(data)
		if err != nil {
			return
		}
		due := time.Now().Add(time.Duration(w.oneWay.Load()))
		writes <- func() {
			time.Sleep(time.Until(due))
			_, _ = to.Write(data[:n]) // fails if that side has ended, which ends the way back, and that this one
		}
	}
}
