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

// stockAge is for how long a stock is not read again: sixteen of them cost more reads than all the rest.
const stockAge = time.Second

// watch reads the state. Whoever looks soon after somebody else is given the same.
type watch struct {
	page *Page

	mu       sync.Mutex
	at       time.Time
	encoded  []byte
	logs     []*logFile
	people   []person
	peopleAt time.Time
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
	documents, err := w.page.documents(ctx)
	if err != nil {
		return nil, err
	}
	s := state{Requests: documents.lines(), Deliveries: documents.states(), Waiting: documents.waiting()}
	s.Names, s.Offline = w.page.people.known()
	if time.Since(w.peopleAt) >= stockAge {
		if w.people, err = w.page.stocks(ctx, documents.owners, s.Names); err != nil {
			return nil, err
		}
		w.peopleAt = time.Now()
	}
	s.People = w.people
	for _, log := range w.logs {
		if err := log.follow(); err != nil {
			return nil, err
		}
		s.Functions = append(s.Functions, log.function)
	}
	return json.Marshal(s)
}

// stocks reads what owners have, those first who have a name, and leaves out who is too many.
func (p *Page) stocks(ctx context.Context, owners map[string]bool, names map[string]string) ([]person, error) {
	all := slices.SortedFunc(maps.Keys(owners), func(a, b string) int {
		return cmp.Or(-cmp.Compare(names[a], names[b]), cmp.Compare(a, b))
	})
	people := []person{}
	for _, owner := range all[:min(len(all), peopleShown)] {
		stock, err := p.store.Holdings(ctx, owner, time.Now())
		if err != nil {
			return nil, err
		}
		people = append(people, person{owner, append([]keypackage.Holding{}, stock...)}) // never null: the page reads a list
	}
	return people, nil
}
