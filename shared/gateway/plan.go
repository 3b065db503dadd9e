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
	private    bool          // names kinds that only the gateway has, and only for who has authenticated
	claims     []Claim
	owners     int      // of all claims together
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
	p.private = slices.ContainsFunc(filters, func(f wire.Filter) bool {
		return f.Names(keypackage.KindKeyPackage, keypackage.KindOutcome, keypackage.KindLevel)
	})
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
			return f.OnlyNew() || f.Authors == nil || !f.Names(keypackage.KindAddressableKeyPackage)
		})
	}
	return p
}

// costs reports whether answering means asking a port.
func (p plan) costs() bool { return p.reads()+p.owners > 0 || p.incidental }

// reads is how many queries are asked for, at most.
func (p plan) reads() int {
	each := min(1, len(p.granted))
	if len(p.own) > 0 && !p.incidental {
		each++
	}
	if p.levels {
		each++
	}
	return min(1, len(p.stored)) + len(p.keys)*each
}

// split takes out of each filter what upstream is not asked for, and keeps what may be sent later.
func (p *plan) split(filters []wire.Filter, c circumstances) {
	away := hiddenIn(c.serving)
	for _, f := range filters {
		if f.Kinds == nil || f.Names(ours...) {
			p.conditions = append(p.conditions, f.Condition())
			p.size += f.Size()
		}
		if c.alone {
			continue
		}
		p.changed = p.changed || f.Names(away...)
		if rest, left := f.Without(away...); left {
			p.up = append(p.up, rest)
		}
	}
}

// askToLogIn is for a session that nobody has authenticated on.
func (p *plan) askToLogIn(filters []wire.Filter) {
	if !p.private {
		return // authenticating would not help
	}
	elsewhere := func(f wire.Filter) bool { return !f.NamesOnly(hidden...) }
	others := func(f wire.Filter) bool { return !f.NamesOnly(append(slices.Clip(ours), keypackage.KindRequest)...) }
	if !slices.ContainsFunc(filters, elsewhere) {
		p.refusal = authRequired
	}
	p.loginAtEOSE = !slices.ContainsFunc(filters, others)
}

// askForOwn finds what an owner asks about herself. Nobody looks for KeyPackages by their tags, unless he names the kind.
func (p *plan) askForOwn(filters []wire.Filter, c circumstances) {
	for _, f := range filters {
		p.levels = p.levels || f.Names(keypackage.KindLevel)
		if f.OnlyNew() {
			continue
		}
		named := f.Names(keypackage.KindKeyPackage)
		takes := func(key string) bool {
			ids, known := c.stock[key]
			return wire.Admits(f.Authors, key) &&
				(named || f.Kinds == nil && len(f.Others) == 0 && (!known || wire.Admits(f.IDs, ids...)))
		}
		if slices.ContainsFunc(c.keys, takes) {
			p.incidental = !named && (p.incidental || len(p.own) == 0)
			p.own = append(p.own, f)
		}
		if named {
			p.granted = append(p.granted, f.Tag("e")...)
		}
	}
	if len(p.granted) > keypackage.MaxOwners {
		p.refusal = "invalid: at most 32 requests at a time"
	}
}

// claim claims of the owners of whom a KeyPackage is wanted, but for the requester herself.
func (p *plan) claim(filters []wire.Filter, c circumstances) {
	if !c.claiming || p.refusal != "" {
		return
	}
	owners, addressable := wanted(filters)
	own := func(owner string) bool { return slices.Contains(c.keys, owner) }
	malformed := func(owner string) bool { return !keypackage.IsPubkey(owner) }
	others := slices.DeleteFunc(slices.Clone(owners), own)
	switch {
	case len(owners) > keypackage.MaxOwners:
		p.refusal = "invalid: at most 32 authors at a time"
		return
	case slices.ContainsFunc(owners, malformed):
		p.refusal = "invalid: an author is 64 lower-case hex digits"
		return
	case len(c.keys) > 1 && len(others) > 0:
		p.refusal = "restricted: several keys have authenticated here, ask with a signed kind 447"
		return
	}
	p.owners = len(others)
	for _, also := range []bool{false, true} {
		some := slices.DeleteFunc(slices.Clone(others), func(owner string) bool { return addressable[owner] != also })
		if len(some) > 0 {
			p.claims = append(p.claims, Claim{Requester: c.keys[0], Addressable: also, Owners: some})
		}
	}
}

// wanted returns the owners of whom a KeyPackage is wanted, by filters that name kind 443 and authors, and nothing else but a limit,
// in their order; and of which of them one of the filters wants kind 30443 as well.
func wanted(filters []wire.Filter) (owners []string, addressable map[string]bool) {
	addressable = map[string]bool{}
	for _, f := range filters {
		if !f.Names(keypackage.KindKeyPackage) || !f.AsksByAuthorAlone() || f.OnlyNew() {
			continue
		}
		for _, author := range f.Authors {
			also, known := addressable[author]
			addressable[author] = also || f.Names(keypackage.KindAddressableKeyPackage)
			if !known {
				owners = append(owners, author)
			}
		}
	}
	return owners, addressable
}
