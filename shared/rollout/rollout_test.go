package rollout_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
)

var errAway = errors.New("the database is away")

// document is the switch in memory, and a clock.
type document struct {
	mu     sync.Mutex
	word   string
	exists bool
	err    error
	reads  int
	clock  time.Time
}

func (d *document) Mode(context.Context) (string, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	return d.word, d.exists, d.err
}

func (d *document) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clock
}

func (d *document) set(word string, exists bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.word, d.exists, d.err = word, exists, err
	d.clock = d.clock.Add(10 * time.Second)
}

func of(t *testing.T, m rollout.Mode) keypackage.Mode {
	t.Helper()
	mode, err := m.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return mode
}

// The document makes the mode more careful than the setting, never less, and what it holds otherwise means off.
func TestTheDocumentIsMoreCareful(t *testing.T) {
	t.Parallel()
	for setting, words := range map[keypackage.Mode]map[string]keypackage.Mode{
		keypackage.ModeDeliver: {"off": "off", "observe": "observe", "deliver": "off", "": "off", "OBSERVE": "off", "none": "deliver"},
		keypackage.ModeObserve: {"off": "off", "observe": "observe", "deliver": "off", "": "off", "none": "observe"},
		keypackage.ModeOff:     {"off": "off", "observe": "off", "deliver": "off", "": "off", "none": "off"},
	} {
		for word, want := range words {
			d := &document{word: word, exists: word != "none"}
			if got := of(t, rollout.New(setting, d, d.now)); got != want {
				t.Errorf("setting %s, document %q: %s, want %s", setting, word, got, want)
			}
		}
	}
}

// A change is seen within ten seconds, and in between nothing is read.
func TestChangesAreSeen(t *testing.T) {
	t.Parallel()
	d := &document{}
	s := rollout.New(keypackage.ModeDeliver, d, d.now)
	for range 100 {
		if got := of(t, s); got != keypackage.ModeDeliver {
			t.Fatal(got)
		}
	}
	if d.reads != 1 {
		t.Errorf("%d reads at one moment", d.reads)
	}
	for _, word := range []string{"off", "observe"} {
		if d.set(word, true, nil); of(t, s) != keypackage.Mode(word) {
			t.Errorf("ten seconds later the mode is not %s", word)
		}
	}
	if d.set("", false, nil); of(t, s) != keypackage.ModeDeliver {
		t.Error("the document is gone, and the setting does not count")
	}
}

// A reading that fails keeps the mode. Before the first the mode is not known, which is asked anew each time.
func TestFailedReadings(t *testing.T) {
	t.Parallel()
	d := &document{err: errAway}
	s := rollout.New(keypackage.ModeDeliver, d, d.now)
	for range 2 {
		if mode, err := s.Now(t.Context()); !errors.Is(err, errAway) || mode != keypackage.ModeOff {
			t.Errorf("never read: %s, %v", mode, err)
		}
	}
	d.err = nil
	if of(t, s) != keypackage.ModeDeliver {
		t.Error("once it can be read the setting counts")
	}
	d.set("observe", true, nil)
	of(t, s)
	for range 3 {
		if d.set("", false, errAway); of(t, s) != keypackage.ModeObserve {
			t.Error("a failed reading does not keep the mode")
		}
	}
}

// The caller's end is not the reading's: others need it.
func TestReadingOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := rollout.New(keypackage.ModeDeliver, contexts{}, time.Now)
	if mode, err := s.Now(ctx); err != nil || mode != keypackage.ModeDeliver {
		t.Errorf("got %s, %v", mode, err)
	}
}

// contexts fails as its context has.
type contexts struct{}

func (contexts) Mode(ctx context.Context) (string, bool, error) { return "", false, ctx.Err() }

func TestAModeNeverChanges(t *testing.T) {
	t.Parallel()
	for _, mode := range []keypackage.Mode{keypackage.ModeOff, keypackage.ModeObserve, keypackage.ModeDeliver} {
		if got := of(t, mode); got != mode {
			t.Errorf("%s is %s", mode, got)
		}
	}
}
