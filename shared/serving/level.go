package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	// levelEvery is how often an owner who listens is told the state of her stock, if it has changed: claims are made at other
	// instances, too.
	levelEvery   = 10 * time.Minute
	levelTimeout = 10 * time.Second // of the reading of one owner's state
	maxListeners = 5000             // owners who are looked at every ten minutes; each costs a read, and one for each ciphersuite
	maxCounted   = 1000             // how far a stock is counted: Firestore charges one read for up to 1,000 documents
	maxSuites    = 16               // of one owner; RFC 9420 names seven
)

// levels is what owners who listen for the state of their stock (kind 20448) were last told.
type levels struct {
	mu   sync.Mutex
	told map[string]reading // by owner
	last int                // number of the reading that began last
}

// reading is the state of an owner's stock. One with a higher number began later, and knows all that had happened by then.
type reading struct {
	number int
	rows   []levelRow
}

// levelRow is the state of one ciphersuite, in the content of a notice.
type levelRow struct {
	Ciphersuite string           `json:"ciphersuite"` // keypackage.SuiteKey
	Count       int              `json:"count"`       // KeyPackages in stock
	Level       keypackage.Level `json:"level"`
	At          int64            `json:"at"` // when a claim last made it sink or found it refilled, Unix seconds; 0: none has yet
}

// Level implements gateway.Levels.
func (s *Service) Level(ctx context.Context, owner string) (*gateway.Event, error) {
	read, err := s.readLevels(ctx, owner)
	if err != nil || len(read.rows) == 0 {
		return nil, err
	}
	s.levels.mu.Lock()
	s.levels.note(owner, read, false)
	s.levels.mu.Unlock()
	return s.levelEvent(owner, read.rows)
}

// readLevels reads the state of an owner's stock: what her document says of each ciphersuite that was ever taken from, that she was
// told of, or that is named, and how many there are now, which it does not know when she has published since.
func (s *Service) readLevels(ctx context.Context, owner string, named ...string) (reading, error) {
	read, told := s.levels.begin(owner)
	supplies, err := s.Store.Supplies(ctx, owner)
	if err != nil {
		return read, err
	}
	suites := slices.Compact(slices.Sorted(slices.Values(slices.AppendSeq(append(told, named...), maps.Keys(supplies)))))
	for _, suite := range suites[:min(len(suites), maxSuites)] {
		count, err := s.Store.CountSuite(ctx, owner, suite, maxCounted)
		if err != nil {
			return read, err
		}
		known, row := supplies[suite], levelRow{Ciphersuite: suite, Count: count}
		row.Level = keypackage.LevelOf(count, known.Level == keypackage.LevelReserve && count <= known.Count)
		if !known.At.IsZero() {
			row.At = known.At.Unix()
		}
		read.rows = append(read.rows, row)
	}
	return read, nil
}

// begin numbers a reading, and returns the ciphersuites of which the owner was told before.
func (l *levels) begin(owner string) (read reading, suites []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	for _, row := range l.told[owner].rows {
		suites = append(suites, row.Ciphersuite)
	}
	return reading{number: l.last}, suites
}

// levelEvent returns the signed notice.
func (s *Service) levelEvent(owner string, rows []levelRow) (*gateway.Event, error) {
	content, err := json.Marshal(map[string]any{"rows": rows})
	if err != nil {
		return nil, fmt.Errorf("encode a level: %w", err)
	}
	event, err := s.signer.sign(s.unsignedLevel(owner, string(content)))
	return &event, err
}

func (s *Service) unsignedLevel(owner, content string) gateway.Event {
	return s.signer.unsigned(keypackage.KindLevel, content, s.now(), nostr.Tags{{"p", owner}})
}

// note remembers what an owner is told, and reports whether that is new, or, with crossed, a level in it. The caller holds the lock.
func (l *levels) note(owner string, read reading, crossed bool) bool {
	same := func(a, b levelRow) bool {
		return a == b || crossed && a.Ciphersuite == b.Ciphersuite && a.Level == b.Level
	}
	before, known := l.told[owner]
	if read.number < before.number || !known && len(l.told) >= maxListeners {
		return false
	}
	isNew := !known || !slices.EqualFunc(before.rows, read.rows, same)
	if !isNew {
		read.rows = before.rows
	}
	l.told[owner] = read
	return isNew
}

// listeners returns the owners who were told, and forgets those who listen no more.
func (s *Service) listeners() []string {
	s.levels.mu.Lock()
	defer s.levels.mu.Unlock()
	maps.DeleteFunc(s.levels.told, func(owner string, _ reading) bool { return !s.listens(owner) })
	return slices.Collect(maps.Keys(s.levels.told))
}

func (s *Service) listens(owner string) bool {
	return s.gateway.Awaits(owner, s.unsignedLevel(owner, ""))
}

// crossed tells owners of whom something was granted, since a level may have been crossed. It does not wait.
func (s *Service) crossed(answer keypackage.Answer) {
	for _, claim := range answer.Claims {
		s.begin(func() { s.tellLevel(claim.Owner, true) })
	}
}

// published tells an owner who has published a KeyPackage. It does not wait.
func (s *Service) published(e gateway.Event) {
	s.begin(func() {
		if s.listens(e.PubKey) {
			document := keypackage.Document{keypackage.FieldOwner: e.PubKey, keypackage.FieldEvent: e.Raw}
			s.tellLevel(e.PubKey, false, keypackage.SuiteKey(keypackage.Inspect(e.ID, document, keypackage.PolicyWarn).Suite))
		}
	})
}

// tellLevel tells an owner the state of her stock, if she listens here and it has changed, or, with crossed, a level has. Of
// ciphersuites that nothing was taken from yet she is told if they are named.
func (s *Service) tellLevel(owner string, crossed bool, named ...string) {
	if !s.listens(owner) {
		return
	}
	ctx, cancel := context.WithTimeout(s.done, levelTimeout)
	defer cancel()
	read, err := s.readLevels(ctx, owner, named...)
	s.levels.mu.Lock() // until it is on its way, so that none overtakes another
	defer s.levels.mu.Unlock()
	if err != nil || len(read.rows) == 0 || !s.levels.note(owner, read, crossed) {
		return // she is told at the next opportunity
	}
	event, err := s.levelEvent(owner, read.rows)
	if err != nil {
		s.Log.Error("a level is not told", "error", err)
		return
	}
	s.gateway.Deliver(gateway.DirectEvent{ID: "level " + event.ID, Recipient: owner, Event: *event, Expires: s.now().Add(levelEvery)})
}
