package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// raisedLimits are settings under which the limits measure nothing: a limited request is a cheap one.
var raisedLimits = map[string]string{"PAIR_LIMIT_PER_HOUR": "10000", "OWNER_BUDGET_PER_HOUR": "100000"}

// database is a Firestore database with the settings under which the functions would use it.
type database struct {
	*bench
	config.Config
	client *firestore.Client
	owners []actors.Key // each is asked by several requesters, never by one twice while a delivery is open
	asked  atomic.Int64 // owners
}

// open returns the database of a project; "" makes up a new one. Options are for the client, to look at what it sends.
func (b *bench) open(project string, options ...grpc.DialOption) *database {
	settings := maps.Clone(raisedLimits)
	settings[config.Project] = cmp.Or(project, "bench-"+strings.ToLower(rand.Text()[:20]))
	cfg, err := config.Load(func(name string) (string, bool) { value, ok := settings[name]; return value, ok })
	b.must(err)
	client, err := fixture.Connect(cfg, b.wire.Addr().String(), options...)
	b.must(err)
	return &database{bench: b, Config: cfg, client: client}
}

func (db *database) store() *store.Store { return store.New(db.client, db.Collections, db.Policy) }

func (db *database) claimer(announced announce, now func() time.Time) *claiming.Claimer {
	return assembly.NewClaimer(db.Config, db.store(), announced, keypackage.ModeDeliver, now)
}

// populate adds owners with so many real packages each, and so many requests for one package of each, which it returns as they
// come with their triggers, the owners in turn. The wire does not delay it.
func (db *database) populate(ctx context.Context, owners, packages, each int) []keypackage.RequestDocument {
	defer db.wire.pause()()
	db.owners = make([]actors.Key, owners)
	requests := make([]keypackage.RequestDocument, owners*each)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for i := range owners {
		group.Go(func() error {
			owner := actors.NewKey()
			db.owners[i] = owner
			stock, err := fixture.NewPackages(owner, packages)
			if err != nil {
				return err
			}
			documents := fixture.Stock(db.Config, stock...)
			for j := i; j < len(requests); j += owners {
				fields, request, err := fixture.NewRequest(actors.NewKey(), actors.Question{Owners: []string{owner.Pubkey}})
				if err != nil {
					return err
				}
				requests[j], documents[db.Collections.Requests+"/"+request.ID] = request, fields
			}
			return documents.Write(ctx, db.client)
		})
	}
	db.must(group.Wait())
	return requests
}

// packagesPerOwner is a usual stock. requestsPerOwner of them are asked for: the rest keeps claims in the usual case.
const packagesPerOwner, requestsPerOwner = 10, 4

// restock empties the database and gives it a stock for so many requests: the emulator's queries look at every document, which
// Firestore's do not, so what earlier rounds have left would be most of what is measured.
func (db *database) restock(ctx context.Context, requests int) {
	db.must(db.clear(ctx))
	db.populate(ctx, requests/requestsPerOwner+1, packagesPerOwner, 0)
}

// owner is whom the next request asks for.
func (db *database) owner() string { return db.owners[int(db.asked.Add(1))%len(db.owners)].Pubkey }

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

const (
	waitsAtMost = 3   // times as long as the slowest at one instance, for a request for a hot owner at several
	seconds     = 4   // for which a rate is offered
	kept        = 0.9 // the share of a rate below which it counts as not kept
	spare       = 6   // packages that are left to each owner, so that no claim ends near the last
)

// offered is so many requests for each of some owners, claimed by instances in turn, so many at once (-1: any number).
type offered struct{ owners, each, atOnce, instances int }

var offeredColumns = append([]string{"served/s"}, quantiles...)

// claims measures how many requests a second can be claimed: for many owners, and for one whom everybody wants, at one instance
// and at several, which know nothing of each other and are compared with the last at one.
func (b *bench) claims(ctx context.Context) {
	t := b.table("Throughput of claims, one package each, from the request's document to its recorded outcome", offeredColumns...)
	t.note("Instances have connections of their own. An invocation that gives up is called again, as the platform would.")
	for _, rtt := range distances {
		b.wire.set(rtt)
		var one sample
		for _, o := range []offered{
			{b.few(200), 1, 20, 1}, {1, 1, 1, 1}, {1, b.few(10), 10, 1}, {1, b.few(50), 50, 1}, {1, b.few(200), 200, 1},
			{1, b.few(200), 200, 2}, {1, b.few(200), 200, 8}, {1, b.few(200), 200, 20},
		} {
			name := fmt.Sprintf("RTT %v, owners %d, at once %d, instances %d", rtt, o.owners, o.atOnce, o.instances)
			_, took := b.offer(ctx, t, name, o, 0)
			if o.instances == 1 {
				one = took
			} else {
				b.atMost(name+": slowest, over that at 1", took.quantile(1)/one.quantile(1), waitsAtMost)
			}
		}
	}
}

// load offers one instance requests at a rate, whatever becomes of them, and doubles the rate until it is not kept.
func (b *bench) load(ctx context.Context) {
	t := b.table("Open loop: claim and push at a rate, one package each, a relay that answers at once", offeredColumns...)
	t.note("Each for another owner and requester. Times count from when a request was due, not from when its turn came.")
	t.note("Message and trigger are left out: the Pub/Sub emulator's two pushes at a time would be all that is seen.")
	for _, rtt := range distances {
		b.wire.set(rtt)
		for rate, saturated := 100, false; !saturated; rate *= 2 {
			o := offered{b.few(seconds * rate), 1, -1, 1}
			served, _ := b.offer(ctx, t, fmt.Sprintf("RTT %v, %d a second", rtt, rate), o, rate)
			saturated = served < kept*float64(rate)
		}
	}
}

// offer has requests claimed as fast as it can be, or at a rate, and then pushed, too, and adds a row to a table.
func (b *bench) offer(ctx context.Context, t *table, name string, o offered, rate int) (served float64, took sample) {
	command.Progress(name)
	db := b.open("")
	defer db.drop(ctx)
	requests := db.populate(ctx, o.owners, o.each+spare, o.each)
	claimers := make([]*claiming.Claimer, o.instances)
	for i := range claimers {
		instance := b.open(db.Project)
		defer instance.client.Close()
		relay := answering(func() keypackage.PushResult { return keypackage.ResultDelivered })
		deliverer := delivering.New(instance.store(), relay, keypackage.ModeDeliver, time.Now)
		claimers[i] = instance.claimer(func(ctx context.Context, a keypackage.Announcement) error {
			if rate == 0 {
				return nil
			}
			result, err := deliverer.ForRequest(ctx, a)
			if err == nil && result.Delivered != 1 {
				err = fmt.Errorf("%d packages were delivered instead of one", result.Delivered)
			}
			return err
		}, time.Now)
	}
	took, lasted := b.drive(ctx, len(requests), o.atOnce, rate, func(ctx context.Context, i int, due time.Time) (time.Duration, error) {
		claimer := claimers[i%len(claimers)]
		result, err := claimer.Claim(ctx, requests[i])
		for err != nil && ctx.Err() == nil { // the platform brings an event again until it is acknowledged
			result, err = claimer.Claim(ctx, requests[i])
		}
		if err == nil && result.Granted != 1 {
			err = fmt.Errorf("a request was answered %s (%s) with %d packages", result.Outcome, result.Reason, result.Granted)
		}
		return time.Since(due), err
	})
	served = float64(len(requests)) / lasted.Seconds()
	t.add(name, append([]float64{served}, took.row()...)...)
	return served, took
}

// drive calls f n times, so many at once (-1: any number), and returns what it says each took, and how long all lasted. Calls are
// due when it is their turn or, at a rate, so many a second.
func (b *bench) drive(
	ctx context.Context, n, atOnce, rate int, f func(ctx context.Context, i int, due time.Time) (time.Duration, error),
) (each sample, lasted time.Duration) {
	runtime.GC() // the garbage is not that of what is measured
	each = make(sample, n)
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		var due time.Time
		if rate > 0 {
			due = begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
			time.Sleep(time.Until(due))
		}
		group.Go(func() (err error) {
			each[i], err = f(ctx, i, cmp.Or(due, time.Now()))
			return err
		})
	}
	b.must(group.Wait())
	return each, time.Since(begun)
}

// announce is what is done with what a claim announces.
type announce func(context.Context, keypackage.Announcement) error

// PublishRequest implements claiming.Publisher.
func (f announce) PublishRequest(ctx context.Context, a keypackage.Announcement) error {
	return f(ctx, a)
}

// answering is a relay that answers each delivery of a push alike.
type answering func() keypackage.PushResult

// Push implements delivering.Relay.
func (f answering) Push(_ context.Context, push delivering.Push) delivering.Results {
	result, each := f(), make(map[string]keypackage.PushResult, len(push.Deliveries))
	for _, d := range push.Deliveries {
		each[d.ID] = result
	}
	return delivering.Results{Each: each}
}
