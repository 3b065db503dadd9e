package simulation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// Backends are projects of the Firestore emulator, each with a client whose calls can go wrong. A simulation has one for itself
// and gives it back empty: the emulator's queries look at everything in their database. Safe for concurrent use.
type Backends struct{ free chan *backend }

type backend struct {
	conn    *grpc.ClientConn
	base    string // of the projects' names
	plays   int
	project string
	client  *firestore.Client
}

// playsPerProject is how many plays one project serves. Queries look at what was deleted, too: with one project for all, 240
// histories of 4 players took 1.6 times as long.
const playsPerProject = 20

// NewBackends connects to so many projects; the connections end with the test. The package's tests must run under
// emutest.Main.
func NewBackends(t testing.TB, n int) *Backends {
	t.Helper()
	all := &Backends{free: make(chan *backend, n)}
	for range n {
		all.free <- connect(t)
	}
	return all
}

func connect(t testing.TB) *backend {
	t.Helper()
	b := &backend{base: emutest.Project(t)}
	options := append(append(store.DialOptions(), faulty...),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(asOwner{}))
	var err error
	if b.conn, err = grpc.NewClient(os.Getenv("FIRESTORE_EMULATOR_HOST"), options...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.conn.Close() })
	if err := b.renew(); err != nil {
		t.Fatal(err)
	}
	return b
}

// renew moves to another project, over the same connection.
func (b *backend) renew() (err error) {
	b.project = fmt.Sprintf("%s-%d", b.base, b.plays/playsPerProject)
	b.client, err = firestore.NewClient(context.Background(), b.project, option.WithGRPCConn(b.conn))
	return err
}

// end empties the project, or leaves it for good.
func (b *backend) end() error {
	err := b.clear()
	if b.plays++; b.plays%playsPerProject == 0 && err == nil {
		err = b.renew()
	}
	return err
}

// asOwner is how the emulator's clients introduce themselves.
type asOwner struct{}

func (asOwner) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer owner"}, nil
}

func (asOwner) RequireTransportSecurity() bool { return false }

// clear removes all documents.
func (b *backend) clear() error {
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/databases/(default)/documents",
		os.Getenv("FIRESTORE_EMULATOR_HOST"), b.project)
	request, err := http.NewRequest(http.MethodDelete, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("clear %s: %s", b.project, response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// collections are the names in every simulation.
var collections = config.Collections{
	KeyPackages: "keypackages", Requests: "requests", Deliveries: "deliveries", Tombstones: "tombstones", Claims: "claims",
	Ledger: "ledger", Pairs: "pairs", Owners: "owners",
}

// author says on whose behalf a commit is made.
type author struct {
	simulation *Simulation
	since      time.Time
	system     bool
}

type authorKey struct{}

// committed notes a commit with the simulation in which it was made.
func committed(ctx context.Context, request *firestorepb.CommitRequest, response *firestorepb.CommitResponse) {
	by, ok := ctx.Value(authorKey{}).(author)
	if !ok {
		return
	}
	c := commit{time: response.GetCommitTime().AsTime(), since: by.since, at: by.simulation.Clock.Now(), system: by.system}
	for _, w := range request.GetWrites() {
		c.writes = append(c.writes, writeOf(w))
	}
	by.simulation.note(c)
}

func writeOf(w *firestorepb.Write) write {
	name := w.GetUpdate().GetName()
	if w.GetDelete() != "" {
		name = w.GetDelete()
	}
	changed := write{
		collection: path.Base(path.Dir(name)), id: path.Base(name), deletes: w.GetDelete() != "",
		fields: fieldsOf(w.GetUpdate().GetFields()),
	}
	if w.GetUpdateMask() != nil {
		for _, field := range w.GetUpdateMask().GetFieldPaths() {
			changed.mask = append(changed.mask, strings.Trim(field, "`"))
		}
	}
	return changed
}

func fieldsOf(fields map[string]*firestorepb.Value) map[string]any {
	plain := make(map[string]any, len(fields))
	for name, value := range fields {
		plain[name] = plainOf(value)
	}
	return plain
}

// plainOf returns a value as the Firestore client would; nil for types that no check looks at.
func plainOf(value *firestorepb.Value) any {
	switch v := value.GetValueType().(type) {
	case *firestorepb.Value_StringValue:
		return v.StringValue
	case *firestorepb.Value_BooleanValue:
		return v.BooleanValue
	case *firestorepb.Value_IntegerValue:
		return v.IntegerValue
	case *firestorepb.Value_TimestampValue:
		return v.TimestampValue.AsTime()
	}
	return nil
}
