package claiming

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// accuser is what *testing.T and *rapid.T have in common.
type accuser interface {
	Helper()
	Errorf(format string, args ...any)
}

// memory is a Store in maps. It keeps the contract of Store to the letter, and accuses whoever breaks it: see accuse.
type memory struct {
	accuser
	mu         sync.Mutex
	version    time.Time // of the last write
	stock      map[string]keypackage.Candidate
	ledger     map[string]keypackage.Ledger
	tombstones map[string]bool
	claims     map[string]keypackage.Claim
	dismissals map[string]keypackage.Dismissal // by keypackage.DismissalID
	pairs      map[string]keypackage.Pair
	owners     map[string]keypackage.Owner
	deliveries map[string]keypackage.Delivery
	outcomes   map[string]keypackage.Outcome
	commits    int

	// fault is asked before (false) and after (true) the work of each call, which Commit names with its owner. What it returns is the call's error: "failed"
	// or "failed, but persisted".
	fault func(call string, done bool) error
}

func newMemory(a accuser, documents ...*keypackage.Candidate) *memory {
	m := &memory{
		accuser: a, version: now.Add(-time.Hour), stock: make(map[string]keypackage.Candidate),
		ledger: make(map[string]keypackage.Ledger), tombstones: make(map[string]bool),
		claims: make(map[string]keypackage.Claim), dismissals: make(map[string]keypackage.Dismissal), pairs: make(map[string]keypackage.Pair),
		owners: make(map[string]keypackage.Owner), deliveries: make(map[string]keypackage.Delivery),
		outcomes: make(map[string]keypackage.Outcome),
		fault:    func(string, bool) error { return nil },
	}
	for _, c := range documents {
		m.put(*c)
	}
	return m
}

// put stores a document and, as it says, its ledger entry and its tombstone.
func (m *memory) put(c keypackage.Candidate) {
	c.Version = m.tick()
	if c.Use != keypackage.UseNone {
		m.ledger[c.Hash] = keypackage.Ledger{Hash: c.Hash, Use: c.Use, Version: c.Version}
	}
	if c.Tombstoned {
		m.tombstones[c.ID] = true
	}
	m.stock[c.ID] = c
}

func (m *memory) tick() time.Time {
	m.version = m.version.Add(time.Microsecond)
	return m.version
}

// during runs the work of a call, with the faults before and after it.
func (m *memory) during(call string, work func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault(call, false); err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	return m.fault(call, true)
}

// Answers implements Store.
func (m *memory) Answers(_ context.Context, ids []string) (found map[string]keypackage.Answer, err error) {
	err = m.during("Answers", func() error {
		found = m.known(ids)
		return nil
	})
	return found, err
}

// NeverPushed implements Store.
func (m *memory) NeverPushed(_ context.Context, refs []keypackage.DeliveryRef) (unpushed bool, err error) {
	err = m.during("NeverPushed", func() error {
		for _, ref := range refs {
			d, ok := m.deliveries[ref.ID]
			unpushed = unpushed || ok && d.State == keypackage.StatePending && d.PushNo == 0
		}
		return nil
	})
	return unpushed, err
}

// Deliveries implements Store.
func (m *memory) Deliveries(_ context.Context, refs []keypackage.DeliveryRef) (found []keypackage.StoredDelivery, err error) {
	err = m.during("Deliveries", func() error {
		for _, ref := range refs {
			if d, ok := m.deliveries[ref.ID]; ok {
				found = append(found, keypackage.StoredDelivery{Delivery: d, Tombstoned: m.tombstones[d.PackageID]})
			}
		}
		return nil
	})
	return found, err
}

func (m *memory) known(ids []string) map[string]keypackage.Answer {
	found := make(map[string]keypackage.Answer)
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if claim, ok := m.claims[id]; ok {
			answer := found[claim.RequestID]
			answer.Claims = append(answer.Claims, claim)
			found[claim.RequestID] = answer
		}
		if dismissal, ok := m.dismissals[id]; ok {
			if _, both := found[dismissal.RequestID]; both {
				m.Errorf("request %s was dismissed and has claims", dismissal.RequestID)
			}
			found[dismissal.RequestID] = keypackage.Answer{Dismissal: &dismissal}
		}
	}
	return found
}

// View implements Store.
func (m *memory) View(_ context.Context, owner string, units []Unit) (view *View, err error) {
	err = m.during("View", func() error {
		view = &View{Owner: m.owners[owner], Pairs: make(map[string]keypackage.Pair), Open: make(map[string]keypackage.StoredDelivery)}
		view.Owner.Pubkey = owner
		view.Owner.Supplies = maps.Clone(view.Owner.Supplies)
		for _, u := range units {
			if u.Owner != owner {
				m.Errorf("a unit of %s is asked for among those of %s", u.Owner, owner)
			}
			pair := m.pairs[u.Request.Requester+"_"+owner]
			view.Pairs[u.Request.Requester] = pair
			for _, id := range pair.Joinable(u.Request) {
				if d, ok := m.deliveries[id]; ok {
					view.Open[d.ID] = keypackage.StoredDelivery{Delivery: d, Tombstoned: m.tombstones[d.PackageID]}
				}
			}
		}
		return nil
	})
	return view, err
}

// ReadStock implements Store. Like the real one it knows nothing of ledger, tombstones and signatures.
func (m *memory) ReadStock(_ context.Context, owner string, page Page) (portion Portion, err error) {
	err = m.during("ReadStock", func() error {
		all := m.oldestFirst(owner)
		if page.Newest {
			slices.Reverse(all)
		}
		if page.After != nil {
			all = slices.DeleteFunc(all, func(c *keypackage.Candidate) bool { return keypackage.CompareAge(c, page.After) <= 0 })
		}
		portion.End = len(all) < page.Documents
		for _, c := range m.first(all, page.Documents) {
			if portion.Bytes >= page.Bytes {
				portion.End = false
				break
			}
			c.Use, c.Tombstoned, c.LookedUp, c.Flaw, c.Verified = keypackage.UseNone, false, false, "", false
			portion.Candidates = append(portion.Candidates, c)
			portion.Bytes += c.Size
		}
		return nil
	})
	return portion, err
}

// CountSuite implements Store.
func (m *memory) CountSuite(_ context.Context, owner, suite string, limit int) (n int, err error) {
	err = m.during("CountSuite", func() error {
		for _, c := range m.stock {
			if c.Owner == owner && (suite == "" || suite == keypackage.SuiteKey(c.Suite)) {
				n++
			}
		}
		n = min(n, limit)
		return nil
	})
	return n, err
}

// Verify implements Store.
func (m *memory) Verify(candidates []*keypackage.Candidate) {
	_ = m.during("Verify", func() error {
		for _, c := range candidates {
			c.Flaw, c.Verified = m.stock[c.ID].Flaw, true
		}
		return nil
	})
}

// LookUp implements Store.
func (m *memory) LookUp(_ context.Context, candidates []*keypackage.Candidate) error {
	return m.during("LookUp", func() error {
		for _, c := range candidates {
			if !c.LookedUp {
				c.Use, c.Tombstoned, c.LookedUp = m.ledger[c.Hash].Use, m.tombstones[c.ID], true
			}
		}
		return nil
	})
}

func (m *memory) first(page []*keypackage.Candidate, limit int) []*keypackage.Candidate {
	if limit < 1 || limit > scanLimit {
		m.Errorf("a page of %d documents is asked for", limit)
	}
	return page[:min(len(page), limit)]
}

// oldestFirst returns copies, with what ledger and tombstones say now.
func (m *memory) oldestFirst(owner string) []*keypackage.Candidate {
	var all []*keypackage.Candidate
	for _, c := range m.stock {
		if c.Owner == owner {
			c.Use, c.Tombstoned, c.Document = m.ledger[c.Hash].Use, m.tombstones[c.ID], maps.Clone(c.Document)
			c.LookedUp, c.Verified = true, true
			all = append(all, &c)
		}
	}
	slices.SortFunc(all, keypackage.CompareAge)
	return all
}

// Dismiss implements Store.
func (m *memory) Dismiss(_ context.Context, dismissal keypackage.Dismissal, unitIDs []string) error {
	return m.during("Dismiss", func() error {
		if dismissal.RequestID == "" || dismissal.Outcome == "" || dismissal.KeepUntil.IsZero() {
			m.Errorf("incomplete dismissal %+v", dismissal)
		}
		id := keypackage.DismissalID(dismissal.RequestID)
		if len(m.known(append(unitIDs, id))) > 0 {
			return keypackage.ErrConflict
		}
		m.dismissals[id] = dismissal
		return nil
	})
}

// NoteOutcome implements Store.
func (m *memory) NoteOutcome(_ context.Context, documentID string, answer keypackage.Answer) error {
	return m.during("NoteOutcome", func() error {
		outcome := answer.Outcome()
		if before, ok := m.outcomes[documentID]; ok && before != outcome {
			m.Errorf("request %s had the outcome %s and now has %s", documentID, before, outcome)
		}
		if recorded := m.answerTo(documentID); !answer.Complete() || recorded.Outcome() != outcome || recorded.Granted() != answer.Granted() {
			m.Errorf("the outcome %s of %s is told, and recorded is %+v", outcome, documentID, recorded)
		}
		m.outcomes[documentID] = outcome
		return nil
	})
}

// Commit implements Store.
func (m *memory) Commit(_ context.Context, plan *Plan) error {
	return m.during("Commit "+plan.Owner.Pubkey, func() error {
		accuse(m, plan)
		for _, c := range slices.Concat(candidatesOf(plan.Consumed), candidatesOf(plan.Reserves), plan.Remaining) {
			if stored, ok := m.stock[c.ID]; ok && stored.Version.Equal(c.Version) && stored.Flaw != "" {
				m.Errorf("%s is handed out or remains, and does not verify", c.ID)
			}
		}
		if !m.holds(plan) {
			return keypackage.ErrConflict
		}
		suites := m.suites(plan.Owner.Pubkey)
		m.apply(plan)
		m.commits++
		for suite := range suites {
			if !m.suites(plan.Owner.Pubkey)[suite] {
				m.Errorf("the last package of %v is gone", suite)
			}
		}
		return nil
	})
}

// answerOf returns what is recorded of the answer to a request, by owner.
func (m *memory) answerOf(requestID string) keypackage.Answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.answerTo(requestID)
}

// answerTo needs the lock.
func (m *memory) answerTo(requestID string) keypackage.Answer {
	ids := []string{keypackage.DismissalID(requestID)}
	for id, claim := range m.claims {
		if claim.RequestID == requestID {
			ids = append(ids, id)
		}
	}
	return m.known(ids)[requestID]
}
