package gateway

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// plan is what a REQ asks for and of whom.
type plan struct {
	refusal string // "": it is answered

	up      []jsontext.Value // the filters that go upstream
	changed bool             // some of them are not as the client wrote them

	conditions []wire.Filter // what may be sent later has to satisfy one of these
	size       int           // of the conditions, in bytes as they were written
	own        []wire.Filter // ask for one's own stored KeyPackages
	incidental bool          // these name no kinds: the REQ is not about KeyPackages, but may take them
	stored     []wire.Filter // ask for kind 30443, where there is no upstream
	levels     bool          // asks for the state of one's own stock
	private    bool          // names kinds that only the gateway has
	claims     []Claim
	granted    []string // 447s of which is asked what they were granted
	keys       []string // for each of which own, levels and granted are read

	// loginAtEOSE: nobody has authenticated, and the REQ is for KeyPackages alone. Kind 30443 is public, so whether
	// authenticating would help is known when it is clear that there is none.
	loginAtEOSE bool
}

// circumstances decide what a REQ means.
type circumstances struct {
	keys     []string            // of the session
	stock    map[string][]string // ids of what is in stock of keys of which that is known
	serving  bool                // mode `deliver`
	claiming bool                // a REQ is a request
	alone    bool                // there is no upstream
}

const authRequired = "auth-required: KeyPackages are handed out to who says who he is"

// ours are the kinds that the gateway may send by itself.
var ours = []int{keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage, keypackage.KindOutcome, keypackage.KindLevel}

func planREQ(filters []wire.Filter, c circumstances) plan {
	p := plan{keys: c.keys}
	p.split(filters, c)
	p.keepConditions(filters)
	p.private = slices.ContainsFunc(filters, namesPrivate)
	if !c.serving {
		return p
	}
	if len(c.keys) == 0 {
		p.askToLogIn(filters)
	} else {
		p.askForOwn(filters, c)
		p.claim(filters, c)
	}
	if c.alone {
		p.stored = slices.DeleteFunc(slices.Clone(filters), func(f wire.Filter) bool {
			_, named := f.Authors()
			return f.OnlyNew() || !named || !f.Names(keypackage.KindAddressableKeyPackage)
		})
	}
	return p
}

// costs reports whether answering means asking a port.
func (p plan) costs() bool { return p.reads()+p.owners() > 0 || p.incidental }

// reads is how many queries are asked for, at most.
func (p plan) reads() int {
	n := min(1, len(p.stored)) + len(p.keys)*min(1, len(p.granted))
	if len(p.own) > 0 && !p.incidental {
		n += len(p.keys)
	}
	if p.levels {
		n += len(p.keys)
	}
	return n
}

// owners is of how many a KeyPackage is claimed.
func (p plan) owners() int {
	n := 0
	for _, c := range p.claims {
		n += len(c.Owners)
	}
	return n
}

// split takes out of each filter what upstream is not asked for.
func (p *plan) split(filters []wire.Filter, c circumstances) {
	if c.alone {
		return
	}
	away := hiddenIn(c.serving)
	for _, f := range filters {
		rest, left := f.Without(away...)
		p.changed = p.changed || f.NamesAny(away...)
		if left {
			p.up = append(p.up, rest)
		}
	}
}

func (p *plan) keepConditions(filters []wire.Filter) {
	for _, f := range filters {
		if f.AnyKind() || f.NamesAny(ours...) {
			p.conditions = append(p.conditions, f.Condition())
			p.size += f.Size()
		}
	}
}

// askToLogIn is for a session that nobody has authenticated on.
func (p *plan) askToLogIn(filters []wire.Filter) {
	elsewhere := func(f wire.Filter) bool { return !f.NamesOnly(hidden...) }
	others := func(f wire.Filter) bool { return !f.NamesOnly(append(slices.Clip(ours), keypackage.KindRequest)...) }
	if !p.private {
		return // authenticating would not help
	}
	if !slices.ContainsFunc(filters, elsewhere) {
		p.refusal = authRequired
	}
	p.loginAtEOSE = !slices.ContainsFunc(filters, others)
}

// namesPrivate reports whether a filter names kinds that only the gateway has, and only for who has authenticated.
func namesPrivate(f wire.Filter) bool {
	return f.NamesAny(keypackage.KindKeyPackage, keypackage.KindOutcome, keypackage.KindLevel)
}

// askForOwn finds what an owner asks about herself. Nobody looks for KeyPackages by their tags, unless he names the kind.
func (p *plan) askForOwn(filters []wire.Filter, c circumstances) {
	p.incidental = true
	for _, f := range filters {
		named := f.Names(keypackage.KindKeyPackage)
		takes := func(key string) bool {
			ids, known := c.stock[key]
			return f.Admits(key) && (named || f.AnyKind() && !f.HasOthers() && (!known || f.AdmitsAny(ids)))
		}
		if !f.OnlyNew() && slices.ContainsFunc(c.keys, takes) {
			p.own = append(p.own, f)
			p.incidental = p.incidental && !named
		}
		p.levels = p.levels || f.Names(keypackage.KindLevel)
		if f.Names(keypackage.KindKeyPackage) && !f.OnlyNew() {
			p.granted = append(p.granted, f.Tag("e")...)
		}
	}
	p.incidental = p.incidental && len(p.own) > 0
	if len(p.granted) > keypackage.MaxOwners {
		p.refusal = "invalid: at most 32 requests at a time"
	}
}

// asksForOthers reports whether a filter is a request: it names kind 443 and authors, and nothing else but a limit.
func asksForOthers(f wire.Filter) bool {
	return f.Names(keypackage.KindKeyPackage) && f.AsksByAuthorAlone() && !f.OnlyNew()
}

// claim finds the owners of whom a KeyPackage is wanted. An owner whom one filter wants with kind 30443 is claimed with it.
func (p *plan) claim(filters []wire.Filter, c circumstances) {
	if !c.claiming || p.refusal != "" {
		return
	}
	wanted := map[string]bool{} // owner: also as 30443
	var inOrder []string
	for _, f := range filters {
		if !asksForOthers(f) {
			continue
		}
		authors, _ := f.Authors()
		for _, author := range authors {
			also, known := wanted[author]
			wanted[author] = also || f.Names(keypackage.KindAddressableKeyPackage)
			if !known {
				inOrder = append(inOrder, author)
			}
		}
	}
	if p.refusal = refuseOwners(inOrder, c.keys); p.refusal != "" {
		return
	}
	for _, addressable := range []bool{false, true} {
		claim := Claim{Requester: c.keys[0], Addressable: addressable}
		for _, owner := range inOrder {
			if owner != c.keys[0] && wanted[owner] == addressable {
				claim.Owners = append(claim.Owners, owner)
			}
		}
		if len(claim.Owners) > 0 && len(c.keys) == 1 {
			p.claims = append(p.claims, claim)
		}
	}
}

func refuseOwners(owners, keys []string) string {
	stranger := func(owner string) bool { return !slices.Contains(keys, owner) }
	malformed := func(owner string) bool { return !keypackage.IsPubkey(owner) }
	switch {
	case len(owners) > keypackage.MaxOwners:
		return "invalid: at most 32 authors at a time"
	case slices.ContainsFunc(owners, malformed):
		return "invalid: an author is 64 lower-case hex digits"
	case len(keys) > 1 && slices.ContainsFunc(owners, stranger):
		return "restricted: several keys have authenticated here, ask with a signed kind 447"
	}
	return ""
}
