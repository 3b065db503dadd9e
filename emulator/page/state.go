package page

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// state is everything that the page shows at a time.
type state struct {
	People     []person          `json:"people"`
	Names      map[string]string `json:"names"` // of those whom the page plays, by public key
	Offline    int               `json:"offline"`
	Requests   []*request        `json:"requests"`   // newest first
	Deliveries map[string]int    `json:"deliveries"` // by state, of those that are shown
	Waiting    []waiting         `json:"waiting"`
	Functions  []function        `json:"functions"`
}

// person is an owner and her stock by ciphersuite.
type person struct {
	Pubkey string               `json:"pubkey"`
	Stock  []keypackage.Holding `json:"stock"`
}

// Bounds of what is shown, so that a suite that is under load can be watched, too.
const (
	requestsShown   = 40
	deliveriesShown = 200
	stockRead       = 1000 // packages, whose owners are looked at
	peopleShown     = 16
)

// stockAge is for how long a stock that nothing has happened to is not read again: what changes then is what expires.
const stockAge = 3 * time.Second

// watch reads the state. Whoever looks soon after somebody else is given the same.
type watch struct {
	page *Page

	mu      sync.Mutex
	at      time.Time
	encoded []byte
	logs    []*logFile

	people   []person
	peopleAt time.Time
	cause    string // what has been read apart from the people: they change with it
}

func newWatch(p *Page) *watch {
	w := &watch{page: p}
	for _, name := range entryPoints {
		if p.system.PID(name) != 0 {
			w.logs = append(w.logs, &logFile{name: p.system.LogFile(name), function: function{Name: name, Outcomes: map[string]int{}}})
		}
	}
	return w
}

// look returns the state as JSON, or nil if it cannot be read.
func (w *watch) look(ctx context.Context) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.at) < refresh {
		return w.encoded
	}
	encoded, err := w.read(ctx)
	if ctx.Err() != nil {
		return nil // of the one who looked, which says nothing to others
	}
	if err != nil {
		encoded = nil
	}
	w.at, w.encoded = time.Now(), encoded
	return encoded
}

func (w *watch) read(ctx context.Context) ([]byte, error) {
	for _, log := range w.logs {
		if err := log.follow(); err != nil {
			return nil, err
		}
	}
	documents, err := w.page.documents(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.readPeople(ctx, documents); err != nil {
		return nil, err
	}
	s := state{
		People: w.people, Requests: documents.lines(), Deliveries: documents.states(), Waiting: documents.waiting(),
	}
	s.Names, s.Offline = w.page.people.known()
	for _, log := range w.logs {
		s.Functions = append(s.Functions, log.function)
	}
	return json.Marshal(s)
}

// readPeople reads the stocks again if something has happened, or time has passed.
func (w *watch) readPeople(ctx context.Context, d *documents) error {
	cause, err := json.Marshal([]any{d.owners, d.lines(), d.states()})
	if err != nil || string(cause) == w.cause && time.Since(w.peopleAt) < stockAge {
		return err
	}
	people := []person{}
	for _, owner := range w.order(d.owners) {
		stock, err := w.page.store.Holdings(ctx, owner, time.Now())
		if err != nil {
			return err
		}
		people = append(people, person{owner, stock})
	}
	w.people, w.peopleAt, w.cause = people, time.Now(), string(cause)
	return nil
}

// order puts those first who have a name, and leaves out who is too many.
func (w *watch) order(owners map[string]int) []string {
	names, _ := w.page.people.known()
	all := slices.SortedFunc(maps.Keys(owners), func(a, b string) int {
		return cmp.Or(-cmp.Compare(names[a], names[b]), cmp.Compare(a, b))
	})
	return all[:min(len(all), peopleShown)]
}
