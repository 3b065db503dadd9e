package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// design is one way to get a package from a request to the requester.
type design struct {
	restock func(ctx context.Context, requests int)
	request func(context.Context) (time.Duration, error) // how long its package took to arrive; called concurrently
}

// designs are what path measures: the functions, a gateway that serves a request itself, the least possible, one that polls.
var designs = [5]string{"functions", "gateway, 447", "gateway, REQ", "least", "polling"}

const viaFunctions, viaGateway, theLeast, byPolling = 0, 1, 3, 4

// loads are what the designs are measured under: a round-trip time, how many requests are in flight, and in each of so many rounds
// how many there are by design. The functions wait for the Pub/Sub emulator, and a poll for its second, so they make fewer.
var loads = []struct {
	rtt              time.Duration
	inFlight, rounds int
	requests         [5]int
}{
	{0, 1, 2, [5]int{50, 150, 150, 150, 20}}, {0, 10, 2, [5]int{100, 200, 200, 200}}, {0, mostInFlight, 1, [5]int{300, 400, 400, 400}},
	{region, 1, 2, [5]int{50, 150, 150, 150}}, {region, 10, 2, [5]int{100, 200, 200, 200}},
}

const mostInFlight = 100

// path measures the way of a request by each design. They take turns, so that what else the machine does meets all of them.
func (b *bench) path(ctx context.Context) {
	functions := b.newSystem(ctx, config.ServedByFunctions, mostInFlight)
	defer functions.close()
	gateway := b.newSystem(ctx, config.ServedByGateway, mostInFlight)
	defer gateway.close()
	owners := b.open("")
	defer owners.drop(ctx)
	all := [5]design{
		{functions.restock, functions.publish}, {gateway.restock, gateway.publish}, {gateway.restock, gateway.subscribe},
		{owners.restock, owners.least}, {owners.restock, owners.poll},
	}
	for _, d := range all[:byPolling] {
		b.ask(ctx, d, 10, b.few(50))
	}
	t := b.table("End to end: from the frame of a request until the frame of the package", quantiles...)
	t.note("Least: one process that does what the promises need, and nothing else: two commits and one query. The functions have")
	t.note("the trigger on top, and Pub/Sub, whose emulator polls every 100 ms and pushes two messages at a time. Polling is the")
	t.note("design that polls every second, asked at random moments. All are measured in turns. Limits raised: %v.", raisedLimits)
	t.note("Whoever has her package waits %v before she asks again, so that somewhat fewer are in flight.", settling)
	medians := b.table("From the request's frame to the package's frame, median", designs[:]...)
	medians.file, medians.unit = "path.svg", "milliseconds"
	for _, load := range loads {
		b.wire.set(load.rtt)
		name := fmt.Sprintf("RTT %v, %d in flight", load.rtt, load.inFlight)
		var took [5]sample
		for round := range load.rounds {
			for i, d := range all {
				if load.requests[i] > 0 {
					command.Progress(fmt.Sprintf("%s, round %d of %d: %s", name, round+1, load.rounds, designs[i]))
					took[i] = append(took[i], b.ask(ctx, d, load.inFlight, b.few(load.requests[i]))...)
				}
			}
		}
		b.judgePath(name, took, t, medians)
	}
}

// settling is how long a requester waits before it asks again: what is recorded of a delivery is not a part of the next one's way.
const settling = 30 * time.Millisecond

// ask restocks a design and makes n requests of so many requesters, each of whom waits a moment before she asks again.
func (b *bench) ask(ctx context.Context, d design, atOnce, n int) sample {
	resume := b.wire.pause()
	d.restock(ctx, n)
	resume()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // then one of them is lost
	defer cancel()
	each, _ := b.drive(ctx, n, atOnce, 0, func(ctx context.Context, _ int, _ time.Time) (time.Duration, error) {
		defer time.Sleep(settling)
		return d.request(ctx)
	})
	return each
}

// judgePath reports what each design took. Targets are judged where the design that polls took part.
func (b *bench) judgePath(name string, took [5]sample, t, medians *table) {
	all := make([]float64, len(took))
	for i, each := range took {
		all[i] = each.quantile(0.5)
		if len(each) > 0 {
			t.add(name+": "+designs[i], each.row()...)
		}
	}
	medians.add(name, all...)
	over := func(a, b int) []float64 {
		ratios := took[a].row()
		for i, below := range took[b].row() {
			ratios[i] /= below
		}
		return ratios
	}
	t.add(name+": functions over least", over(viaFunctions, theLeast)...)
	t.add(name+": gateway, 447, over least", over(viaGateway, theLeast)...)
	if len(took[byPolling]) > 0 {
		b.atMost(name+": gateway over least, p50", over(viaGateway, theLeast)[0], 2)
		b.atMost(name+": gateway over polling, p50", over(viaGateway, byPolling)[0], 1./15)
		b.atMost(name+": gateway over polling, p99", over(viaGateway, byPolling)[2], 1./10)
	}
}

// system is a suite's gateway and functions, and requesters on real websockets.
type system struct {
	*database
	suite      *suite.Suite
	requesters chan *actors.Requester // who wait for nothing
}

// newSystem starts one whose requests are served by functions or by its gateway, until it is closed.
func (b *bench) newSystem(ctx context.Context, servedBy config.ServedBy, requesters int) *system {
	env := maps.Clone(raisedLimits)
	env["FIRESTORE_EMULATOR_HOST"] = b.wire.Addr().String()
	started, err := suite.Start(ctx, suite.Options{
		Emulators: b.emulators, FunctionEnv: env, TickEvery: time.Minute, // as in the cloud
		RequestsServedBy: servedBy, Progress: command.Progress,
	})
	b.must(err)
	s := &system{b.open(started.Config().Project), started, make(chan *actors.Requester, requesters)}
	for range requesters {
		s.requesters <- actors.NewRequester(started.Addresses().Relay, actors.NewKey())
	}
	return s
}

func (s *system) close() { _, _ = s.client.Close(), s.suite.Stop() }

// restock also opens the sessions anew, so that none comes to the limits that the gateway sets to one.
func (s *system) restock(ctx context.Context, requests int) {
	s.database.restock(ctx, requests)
	for range len(s.requesters) {
		r := <-s.requesters
		s.requesters <- r
		s.must(errors.Join(r.Connect(ctx), r.Listen(ctx))) // to all owners
	}
}

// publish asks by a 447.
func (s *system) publish(ctx context.Context) (time.Duration, error) {
	r := <-s.requesters
	defer func() { s.requesters <- r }()
	event := actors.NewRequest(actors.Question{Owners: []string{s.owner()}})
	if err := r.Sign(event); err != nil {
		return 0, err
	}
	return await(ctx, r, func() error { return r.Publish(ctx, event) })
}

// subscribe asks by REQ, as somebody new each time, because the same requester would be given the same package.
func (s *system) subscribe(ctx context.Context) (time.Duration, error) {
	r := actors.NewRequester(s.suite.Addresses().Relay, actors.NewKey())
	if err := r.Connect(ctx); err != nil {
		return 0, err
	}
	defer r.Disconnect()
	filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{s.owner()}}
	return await(ctx, r, func() error { return r.Subscribe(ctx, "package", filter) })
}

// await returns how long it takes from the asking until the requester's next package arrives.
func await(ctx context.Context, r *actors.Requester, ask func() error) (time.Duration, error) {
	before, _ := r.AwaitKeyPackages(ctx, 0)
	sent := time.Now()
	if err := ask(); err != nil {
		return 0, err
	}
	received, err := r.AwaitKeyPackages(ctx, len(before)+1)
	if err != nil {
		return 0, err
	}
	return received[len(before)].At.Sub(sent), nil
}

// least is the least that the promises need: the request is stored; one query reads the package that goes and the one that
// remains (I2); one commit creates the claim (I4) and the delivery, begun (I5), and deletes the package (I1); the result is
// recorded (I3). Nothing is read twice, verified, limited or authenticated, all of it is one process, and no frame is sent.
func (db *database) least(ctx context.Context) (time.Duration, error) {
	return db.handOut(ctx, keypackage.StateSending)
}

// poll is the design that this system replaces: a trigger claims, and every second a processor sends all pending deliveries. It is
// given more than it has: the least of claims, no trigger, and nobody looks up who is connected. For one request at a time, which
// then waits for the processor itself.
func (db *database) poll(ctx context.Context) (time.Duration, error) {
	time.Sleep(mathrand.N(pollInterval)) // whoever asks as soon as one poll has answered always waits for the whole interval
	return db.handOut(ctx, keypackage.StatePending)
}

const pollInterval = time.Second

// handOut creates a delivery and records that it is delivered, once the processor has found it if it is pending.
func (db *database) handOut(ctx context.Context, state keypackage.State) (took time.Duration, err error) {
	id, owner, sent, in := rand.Text(), db.owner(), time.Now(), db.client.Collection
	request := map[string]any{"event": id, "kind": keypackage.KindRequest, "received_at": sent}
	if _, err := in(db.Collections.Requests).Doc(id).Create(ctx, request); err != nil {
		return 0, err
	}
	oldest := in(db.Collections.KeyPackages).Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc)
	stock, err := oldest.Limit(2).Documents(ctx).GetAll()
	if err != nil || len(stock) < 2 {
		return 0, errors.Join(err, errors.New("no stock"))
	}
	// Deprecated in favour of transactions, which take two more round trips: the least is one atomic commit.
	//lint:ignore SA1019 see above
	batch, delivery := db.client.Batch(), in(db.Collections.Deliveries).Doc(id)
	batch.Create(in(db.Collections.Claims).Doc(id), map[string]any{"request_event_id": id})
	batch.Create(delivery, map[string]any{"state": state, "package": stock[0].Data()})
	batch.Delete(stock[0].Ref)
	if _, err := batch.Commit(ctx); err != nil {
		return 0, err
	}
	if state == keypackage.StatePending {
		time.Sleep(time.Until(time.Now().Truncate(pollInterval).Add(pollInterval)))
		pending, err := delivery.Parent.Where("state", "==", state).Documents(ctx).GetAll()
		if err != nil || len(pending) != 1 {
			return 0, errors.Join(err, fmt.Errorf("%d deliveries are pending", len(pending)))
		}
	}
	took = time.Since(sent)
	_, err = delivery.Update(ctx, []firestore.Update{{Path: "state", Value: keypackage.StateDelivered}})
	return took, err
}

// usage measures what many requests take of the functions' processes, from a start of theirs.
func (b *bench) usage(ctx context.Context) {
	const requesters = 20
	requests := b.few(1000)
	s := b.newSystem(ctx, config.ServedByFunctions, requesters)
	defer s.close()
	functions := [2]string{suite.Claim, suite.Deliver}
	var ready [2]float64
	var before [2]time.Duration
	for i, name := range functions {
		ready[i], before[i] = taken(s.suite.PID(name))
	}
	b.ask(ctx, design{s.restock, s.publish}, requesters, requests)
	t := b.table(fmt.Sprintf("What %d requests take", requests), "resident MB when ready", "after them", "CPU ms for each")
	t.note("The process is this program, which holds more than what is deployed.")
	for i, name := range functions {
		resident, cpu := taken(s.suite.PID(name))
		t.add(name, ready[i], resident, milliseconds(cpu-before[i])/float64(requests))
		b.atMost(name+": resident after its requests, MB", resident, 64)
	}
}

// taken is what a process holds, in MB (10^6 bytes), and has taken of the CPU.
func taken(pid int) (resident float64, cpu time.Duration) {
	// The fields of proc(5), numbered from the state, which stands behind the name and its bracket.
	const userTime, systemTime, residentPages, ticksPerSecond = 11, 12, 21, 100
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, behind, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behind)
	if len(fields) <= residentPages {
		return math.NaN(), 0 // only Linux has these figures
	}
	number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
	cpu = time.Duration(number(userTime)+number(systemTime)) * time.Second / ticksPerSecond
	return float64(number(residentPages)*os.Getpagesize()) / 1e6, cpu
}
