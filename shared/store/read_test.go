package store_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// claiming.Store: NeverPushed reports whether one of the deliveries is pending and no push of it was ever begun.
func TestNeverPushed(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	s.deliver("pushed", func(d *keypackage.Delivery) { d.PushNo = 1 })
	s.deliver("sending", func(d *keypackage.Delivery) { d.State, d.PushNo = keypackage.StateSending, 1 })
	s.deliver("over", func(d *keypackage.Delivery) { d.State = keypackage.StateExpired })
	s.deliver("new", nil)
	named := func(packages ...string) (refs []keypackage.DeliveryRef) {
		for _, id := range packages {
			refs = append(refs, keypackage.DeliveryRef{ID: keypackage.DeliveryID("request", id)})
		}
		return refs
	}
	for _, c := range []struct {
		refs []keypackage.DeliveryRef
		want bool
	}{{nil, false}, {named("none", "pushed", "sending", "over"), false}, {named("pushed", "new"), true}} {
		equal(t, "never pushed", must(s.store.NeverPushed(t.Context(), c.refs))(t), c.want)
	}
}

// claiming.Store: Answers returns, by request, those of the claims and dismissals that exist.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	claim := keypackage.ClaimID(s.earlierFromCarol.ID, s.bob.Pubkey)
	s.dismissed(s.fromAlice.ID)
	found := must(s.store.Answers(t.Context(), []string{"missing_", claim, keypackage.DismissalID(s.fromAlice.ID), "missing_too"}))(t)
	equal(t, "requests", len(found), 2)
	equal(t, "claims", claimIDs(found[s.earlierFromCarol.ID]), []string{claim})
	equal(t, "dismissed", found[s.fromAlice.ID].Dismissal.RequestID, s.fromAlice.ID)
	equal(t, "of none", len(must(s.store.Answers(t.Context(), nil))(t)), 0)
}

func claimIDs(answer keypackage.Answer) []string {
	var ids []string
	for _, c := range answer.Claims {
		ids = append(ids, c.ID())
	}
	slices.Sort(ids)
	return ids
}

// View reads what is known about the owner and the requesters of the units.
func TestViewOfWhatIsKnown(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	s.must(s.store.Commit(t.Context(), s.plan))
	view := must(s.store.View(t.Context(), s.bob.Pubkey, s.units))(t)
	all := s.All()

	equal(t, "owner", view.Owner.Pubkey, s.bob.Pubkey)
	equal(t, "owner's version", view.Owner.Version, all[s.ownerPath(s.bob.Pubkey)].Updated)
	for _, requester := range []string{s.alice.Pubkey, s.carol.Pubkey} {
		pair := view.Pairs[requester]
		equal(t, "pair", []string{pair.Requester, pair.Owner}, []string{requester, s.bob.Pubkey})
		equal(t, "pair's version", pair.Version, all[s.pairPath(requester, s.bob.Pubkey)].Updated)
	}
}

// What is not known is at its zero value, and its Version says that there was no document.
func TestViewOfStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, requester := actors.NewKey(), actors.NewKey()
	req := parse(t, fixture.Request(t, requester, actors.Question{Owners: []string{owner.Pubkey}}))
	view := must(w.store.View(t.Context(), owner.Pubkey, []claiming.Unit{{Request: req, Owner: owner.Pubkey}}))(t)
	equal(t, "owner", view.Owner, keypackage.Owner{Pubkey: owner.Pubkey})
	equal(t, "pairs", view.Pairs, map[string]keypackage.Pair{requester.Pubkey: {}})
	equal(t, "open deliveries", len(view.Open), 0)
}

// View's Open holds the open deliveries to which the pairs point and for which a unit asks.
func TestViewOfJoinableDeliveries(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		before     func(*claims)
		found      bool
		tombstoned bool
	}{
		"open":             {found: true},
		"tombstoned":       {before: func(s *claims) { s.tombstone(s.joined) }, found: true, tombstoned: true},
		"gone":             {before: func(s *claims) { s.Delete(s.deliveryPath(s.plan.Joined[0].ID)) }},
		"asked otherwise":  {before: func(s *claims) { s.units[1].Request.Ask = "another suite" }},
		"granted to a REQ": {before: func(s *claims) { s.units[1].Request.Ask = "another suite"; s.grantByREQ("") }, found: true},
		"and joined since": {before: func(s *claims) { s.units[1].Request.Ask = "another suite"; s.grantByREQ("a 447") }},
		"asked by another": {before: func(s *claims) { s.units = s.units[:1] }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newClaims(t)
			if c.before != nil {
				c.before(s)
			}
			view := must(s.store.View(t.Context(), s.bob.Pubkey, s.units))(t)
			id := keypackage.DeliveryID(s.earlierFromCarol.ID, fixture.ID(s.joined))
			open, found := view.Open[id]
			equal(t, "found", found, c.found)
			equal(t, "tombstoned", open.Tombstoned, c.tombstoned)
			if found {
				equal(t, "id", open.ID, id)
				equal(t, "version", open.Version, s.All()[s.deliveryPath(id)].Updated)
			}
		})
	}
}

// grantByREQ notes that the delivery which is joined was granted to a REQ.
func (s *claims) grantByREQ(joinedBy string) {
	s.t.Helper()
	view := must(s.store.View(s.t.Context(), s.bob.Pubkey, s.units))(s.t)
	pair := view.Pairs[s.carol.Pubkey]
	pair.LastREQ = &keypackage.REQGrant{DeliveryID: s.plan.Joined[0].ID, At: s.now, JoinedBy: joinedBy}
	s.Put(fixture.Documents{s.pairPath(s.carol.Pubkey, s.bob.Pubkey): pair})
}

// Candidates carry what decides about them.
func TestCandidates(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	candidates, all := s.candidates(), s.All()
	uses := map[string]keypackage.Use{
		fixture.ID(s.usedUp): keypackage.UseOneTime, fixture.ID(s.reserveAgain): keypackage.UseReserve,
		fixture.ID(s.remainingReserve): keypackage.UseReserve,
	}
	equal(t, "stock", len(candidates), len(s.stock()))
	for _, p := range s.stock() {
		c, stored := candidates[fixture.ID(p)], all[s.stockPath(p)]
		equal(t, "use", c.Use, uses[c.ID])
		equal(t, "tombstoned", c.Tombstoned, c.ID == fixture.ID(s.tombstoned))
		equal(t, "flawed", c.Flaw != "", c.ID == fixture.ID(s.flawed))
		equal(t, "create and update time", []time.Time{c.Stored, c.Version}, []time.Time{stored.Created, stored.Updated})
		if c.Flaw == "" {
			equal(t, "document", c.Document, p)
		} else {
			equal(t, "what is kept of it", c.Document, keypackage.Document{keypackage.FieldCreatedAt: p[keypackage.FieldCreatedAt]})
		}
	}
}

// A document that was rewritten under its id is read anew, although the former was inspected and is remembered.
func TestRewrittenDocumentIsReadAnew(t *testing.T) {
	t.Parallel()
	w, owner := newWorld(t), actors.NewKey()
	both := fixture.Packages(t, owner, 2)
	hash := func() string { return must(w.store.Oldest(t.Context(), owner.Pubkey, nil, 1))(t)[0].Hash }
	before, after := unsigned(both[0]), unsigned(both[1])
	after[keypackage.FieldEventID] = fixture.ID(before)
	w.PutPackages(before)
	equal(t, "before", hash(), hashOf(before))
	w.PutPackages(after)
	equal(t, "after", hash(), hashOf(after))
}

// unsigned is a document as relays write it that do not keep the event with it.
func unsigned(p keypackage.Document) keypackage.Document {
	p = maps.Clone(p)
	delete(p, keypackage.FieldEvent)
	return p
}

// Oldest reads oldest created_at first, ties by lower id, and Newest the other way round.
func TestOrderOfStock(t *testing.T) {
	t.Parallel()
	packages := tied(t, func(created int64) any { return created })
	w := newWorld(t)
	w.PutPackages(packages...)
	w.PutPackages(fixture.Packages(t, actors.NewKey(), 2)...) // somebody else's
	owner := packages[0].Text(keypackage.FieldOwner)

	want := idsOfPackages(packages)
	equal(t, "oldest", idsOf(must(w.store.Oldest(t.Context(), owner, nil, 100))(t)), want)
	equal(t, "the two oldest", idsOf(must(w.store.Oldest(t.Context(), owner, nil, 2))(t)), want[:2])
	slices.Reverse(want)
	for limit, n := range map[int]int{100: len(want), 2: 2} {
		newest, whole, err := w.store.Newest(t.Context(), owner, limit)
		w.must(err)
		equal(t, "newest", idsOf(newest), want[:n])
		equal(t, "is the whole stock", whole, limit == 100)
	}
}

// Oldest goes on from behind `after`, and fewer than limit means that the stock ends there. Documents that hold
// created_at as a timestamp come behind those that hold a number: Firestore sorts by type first, and a relay writes one.
func TestPagesOfStock(t *testing.T) {
	t.Parallel()
	for name, convert := range map[string]func(int64) any{
		"numbers":    func(created int64) any { return created },
		"timestamps": func(created int64) any { return time.Unix(created, 0).UTC() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packages := tied(t, convert)
			w := newWorld(t)
			w.PutPackages(packages...)
			equal(t, "pages", w.pages(packages[0].Text(keypackage.FieldOwner), 2), idsOfPackages(packages))
		})
	}
	t.Run("mixed", func(t *testing.T) {
		t.Parallel()
		packages := tied(t, func(created int64) any { return created })
		w := newWorld(t)
		for _, p := range packages[:2] {
			created, _ := p.Created()
			p[keypackage.FieldCreatedAt] = created
		}
		w.PutPackages(packages...)
		want := idsOfPackages(append(packages[2:], packages[:2]...))
		equal(t, "pages", w.pages(packages[2].Text(keypackage.FieldOwner), 2), want)
	})
}

// pages reads an owner's whole stock page by page.
func (w *world) pages(owner string, limit int) []string {
	w.t.Helper()
	var ids []string
	var last *keypackage.Candidate
	for {
		page := must(w.store.Oldest(w.t.Context(), owner, last, limit))(w.t)
		ids = append(ids, idsOf(page)...)
		if len(page) < limit {
			return ids
		}
		last = page[limit-1]
	}
}

// tied makes five packages of one owner in the order of their age, of which the three in the middle are equally old.
func tied(t *testing.T, convert func(created int64) any) []keypackage.Document {
	t.Helper()
	now, owner := time.Now().Unix(), actors.NewKey()
	var packages []keypackage.Document
	for i, event := range fixture.Packages(t, owner, 5) {
		age := []int64{30, 20, 20, 20, 10}[i]
		event[keypackage.FieldCreatedAt] = convert(now - age)
		packages = append(packages, event)
	}
	slices.SortFunc(packages, func(a, b keypackage.Document) int { // as the store reads them
		ageA, _ := a.Created()
		ageB, _ := b.Created()
		return cmp.Or(ageA.Compare(ageB), cmp.Compare(fixture.ID(a), fixture.ID(b)))
	})
	return packages
}

func idsOfPackages(packages []keypackage.Document) []string {
	var ids []string
	for _, p := range packages {
		ids = append(ids, fixture.ID(p))
	}
	return ids
}

func idsOf(candidates []*keypackage.Candidate) []string {
	var ids []string
	for _, c := range candidates {
		ids = append(ids, c.ID)
	}
	return ids
}

func sorted(ids ...string) []string {
	slices.Sort(ids)
	return ids
}
