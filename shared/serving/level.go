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
	levelEvery = 10 * time.Minute
	// levelTimeout bounds the reading of one owner's document.
	levelTimeout = 10 * time.Second
	// maxListeners bounds how many owners are looked at every ten minutes; each costs a read.
	maxListeners = 5000
)

// levels is what owners who listen for the state of their stock (kind 20448) were last told.
type levels struct {
	signer signer

	mu   sync.Mutex
	told map[string]string // content, by owner
}

// levelRow is the state of one ciphersuite, in the content of a notice.
type levelRow struct {
	Ciphersuite string           `json:"ciphersuite"` // keypackage.SuiteKey
	Count       int              `json:"count"`       // valid KeyPackages that were left when the level was reached
	Level       keypackage.Level `json:"level"`
	At          int64            `json:"at"` // when it was, Unix seconds
}

// Level implements gateway.Levels.
func (s *Service) Level(ctx context.Context, owner string) (*gateway.Event, error) {
	content, err := s.levelContent(ctx, owner)
	if err != nil || content == "" {
		return nil, err
	}
	s.levels.note(owner, content)
	event, err := s.levels.signer.sign(s.levels.event(owner, content, s.now()))
	return &event, err
}

// levelContent returns the content of an owner's notice; "" if she never had any stock.
func (s *Service) levelContent(ctx context.Context, owner string) (string, error) {
	supplies, err := s.Store.Supplies(ctx, owner)
	if err != nil || len(supplies) == 0 {
		return "", err
	}
	var rows []levelRow
	for _, suite := range slices.Sorted(maps.Keys(supplies)) {
		supply := supplies[suite]
		rows = append(rows, levelRow{suite, supply.Count, supply.Level, supply.At.Unix()})
	}
	content, err := json.Marshal(map[string]any{"rows": rows})
	return string(content), err
}

func (l *levels) event(owner, content string, now time.Time) gateway.Event {
	return l.signer.unsigned(keypackage.KindLevel, content, now, nostr.Tags{{"p", owner}})
}

// note remembers what an owner is told, and reports whether that is new.
func (l *levels) note(owner, content string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told == nil {
		l.told = map[string]string{}
	}
	before, known := l.told[owner]
	if known && before == content || !known && len(l.told) >= maxListeners {
		return false
	}
	l.told[owner] = content
	return true
}

// listeners returns the owners who were told, and forgets those who listen no more.
func (s *Service) listeners() []string {
	s.levels.mu.Lock()
	defer s.levels.mu.Unlock()
	maps.DeleteFunc(s.levels.told, func(owner string, content string) bool {
		return !s.gateway.Awaits(owner, s.levels.event(owner, content, s.now()))
	})
	return slices.Collect(maps.Keys(s.levels.told))
}

// crossed tells owners of whom something was granted, since a level may have been crossed. It does not wait.
func (s *Service) crossed(answer keypackage.Answer) {
	for _, claim := range answer.Claims {
		s.begin(func() { s.tellLevel(claim.Owner) })
	}
}

// tellLevel tells an owner the state of her stock, if she listens here and it has changed.
func (s *Service) tellLevel(owner string) {
	if !s.gateway.Awaits(owner, s.levels.event(owner, "", s.now())) {
		return
	}
	ctx, cancel := context.WithTimeout(s.done, levelTimeout)
	defer cancel()
	content, err := s.levelContent(ctx, owner)
	if err != nil || content == "" || !s.levels.note(owner, content) {
		return // she is told at the next opportunity
	}
	event, err := s.levels.signer.sign(s.levels.event(owner, content, s.now()))
	if err != nil {
		s.Log.Error("a level is not told", "error", err)
		return
	}
	s.gateway.Deliver(gateway.DirectEvent{
		ID: fmt.Sprintf("level of %s: %s", owner, content), Recipient: owner, Event: event, Expires: s.now().Add(levelEvery),
	})
}
