package keypackage_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

func TestMin(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int{
		"1": 1, "3": 3, "10": 10, "11": 10, "1000000": 10, "99999999999999999999": 10,
		"0": 1, "-1": 1, "-99999999999999999999": 1, "": 1, "three": 1, "2.5": 1, "0x2": 1,
	} {
		if got := parsed(t, p(bob.pubkey), nostr.Tag{"min", value}); got.Min != want {
			t.Errorf("min %q: %d, want %d", value, got.Min, want)
		}
	}
	if got := parsed(t, p(bob.pubkey)); got.Min != 1 {
		t.Errorf("no min: %d, want 1", got.Min)
	}
	if got := parsed(t, p(bob.pubkey), nostr.Tag{"min"}); got.Min != 1 {
		t.Errorf("min without a value: %d, want 1", got.Min)
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	const week = 604800
	for value, want := range map[string]int{
		"1": 1, "60": 60, "604800": week, "604801": week, "99999999999999999999": week,
		"0": 1, "-1": 1, "-99999999999999999999": 1, "": week, "soon": week, "1.5": week,
	} {
		got := parsed(t, p(bob.pubkey), nostr.Tag{"ttl", value})
		if got.ValidUntil.Sub(got.CreatedAt) != time.Duration(want)*time.Second {
			t.Errorf("ttl %q: %v, want %d s", value, got.ValidUntil.Sub(got.CreatedAt), want)
		}
	}
	if got := parsed(t, p(bob.pubkey)); !got.ValidUntil.Equal(now.Add(7 * 24 * time.Hour)) {
		t.Errorf("no ttl: valid until %v, want a week from %v", got.ValidUntil, now)
	}
}

func TestCiphersuiteSpellings(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]mls.Ciphersuite{
		"0x0001": 1, "1": 1, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519": 1, "MLS_128_DHKEMX25519": 1,
		"0x0002": 2, "2": 2, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256": 2, "MLS_128_DHKEMP256": 2, "0x1234": 0x1234,
	} {
		got := parsed(t, p(bob.pubkey), nostr.Tag{"cs", value})
		for _, suite := range []mls.Ciphersuite{0, 1, 2, 3, 0x1234} {
			if got.Matches(suite) != (suite == want) {
				t.Errorf("cs %q matches %v: %v", value, suite, got.Matches(suite))
			}
		}
	}
	for _, value := range []string{"0", "0x0000", "nonsense", "MLS_128", "MLS_128_DHKEMX", "-1", "65536", "0x10000"} {
		got := parsed(t, p(bob.pubkey), nostr.Tag{"cs", value})
		for suite := range mls.Ciphersuite(10) {
			if got.Matches(suite) {
				t.Errorf("unknown cs %q matches %v", value, suite)
			}
		}
	}
	for _, tags := range [][]nostr.Tag{{p(bob.pubkey)}, {p(bob.pubkey), {"cs"}}, {p(bob.pubkey), {"cs", ""}}} {
		if got := parsed(t, tags...); !got.Matches(1) || !got.Matches(7) {
			t.Errorf("tags %v do not match every suite", tags)
		}
	}
}

// What a request may join is named by the suite's number and the group, however they are written.
func TestAsk(t *testing.T) {
	t.Parallel()
	ask := func(tags ...nostr.Tag) string { return parsed(t, append(tags, p(bob.pubkey))...).Ask }
	same := [][2]string{
		{ask(), ask(nostr.Tag{"h", ""})},
		{ask(nostr.Tag{"cs", "1"}), ask(nostr.Tag{"cs", "0x0001"}, nostr.Tag{"h", ""})},
		{ask(nostr.Tag{"cs", "MLS_128_DHKEMX25519"}, nostr.Tag{"h", "g"}), ask(nostr.Tag{"h", "g"}, nostr.Tag{"cs", "1"})},
	}
	for i, pair := range same {
		if pair[0] != pair[1] {
			t.Errorf("pair %d: the same wish has two names", i)
		}
	}
	different := []string{
		ask(), ask(nostr.Tag{"cs", "1"}), ask(nostr.Tag{"cs", "2"}), ask(nostr.Tag{"cs", "nonsense"}),
		ask(nostr.Tag{"h", "g"}), ask(nostr.Tag{"h", "g/../é\x00"}), ask(nostr.Tag{"cs", "1"}, nostr.Tag{"h", "g"}),
		ask(nostr.Tag{"k", "30443"}),
	}
	slices.Sort(different)
	if len(slices.Compact(different)) != 8 {
		t.Error("different wishes have one name")
	}
	for _, name := range different {
		if strings.Trim(name, "0123456789abcdef") != "" {
			t.Errorf("name %q is more than hex digits: a group hint is opaque", name)
		}
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	many := make([]nostr.Tag, 40)
	for i := range many {
		many[i] = p(fmt.Sprintf("%064x", 1000+i))
	}
	twice := append(slices.Clone(many[:32]), many[:32]...)
	for name, tt := range map[string]struct {
		tags []nostr.Tag
		want keypackage.Rejection
	}{
		"one":                        {[]nostr.Tag{p(bob.pubkey)}, ""},
		"with a relay hint":          {[]nostr.Tag{{"p", bob.pubkey, "wss://relay.example"}}, ""},
		"thirty-two":                 {many[:32], ""},
		"thirty-two, each twice":     {twice, ""},
		"none":                       {[]nostr.Tag{{"h", "g"}}, keypackage.RejectNoOwner},
		"no tags":                    {nil, keypackage.RejectNoOwner},
		"upper-case P is no p":       {[]nostr.Tag{{"P", bob.pubkey}}, keypackage.RejectNoOwner},
		"an empty tag is no p":       {[]nostr.Tag{{}}, keypackage.RejectNoOwner},
		"thirty-three":               {many[:33], keypackage.RejectTooManyOwners},
		"forty":                      {many, keypackage.RejectTooManyOwners},
		"63 characters":              {[]nostr.Tag{p(bob.pubkey[:63])}, keypackage.RejectMalformedOwner},
		"65 characters":              {[]nostr.Tag{p(bob.pubkey + "0")}, keypackage.RejectMalformedOwner},
		"upper case":                 {[]nostr.Tag{p(strings.ToUpper(bob.pubkey))}, keypackage.RejectMalformedOwner},
		"not hex":                    {[]nostr.Tag{p(strings.Repeat("g", 64))}, keypackage.RejectMalformedOwner},
		"npub":                       {[]nostr.Tag{p("npub1qqqqqq")}, keypackage.RejectMalformedOwner},
		"empty":                      {[]nostr.Tag{p("")}, keypackage.RejectMalformedOwner},
		"no value":                   {[]nostr.Tag{{"p"}}, keypackage.RejectMalformedOwner},
		"one bad among good ones":    {[]nostr.Tag{p(bob.pubkey), p("x"), p(carol.pubkey)}, keypackage.RejectMalformedOwner},
		"the requester":              {[]nostr.Tag{p(alice.pubkey)}, keypackage.RejectSelf},
		"the requester among others": {[]nostr.Tag{p(bob.pubkey), p(alice.pubkey)}, keypackage.RejectSelf},
	} {
		req, err := keypackage.ParseRequest(request(t, tt.tags...), maxMin)
		if tt.want == "" {
			if err != nil || len(req.Owners) != len(slices.CompactFunc(slices.Clone(tt.tags[:min(len(tt.tags), 32)]), slices.Equal)) {
				t.Errorf("%s: %v, %v", name, req, err)
			}
			continue
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if req == nil || req.Requester != alice.pubkey || !tt.want.Authentic() {
			t.Errorf("%s: the requester signed this and may be told", name)
		}
	}
}

func TestRequestFields(t *testing.T) {
	t.Parallel()
	doc := request(t, p(carol.pubkey), p(bob.pubkey), p(carol.pubkey), nostr.Tag{"min", "2"}, nostr.Tag{"k", "30443"})
	doc.ReceivedAt = now.Add(3 * time.Second)
	req, err := keypackage.ParseRequest(doc, maxMin)
	if err != nil {
		t.Fatal(err)
	}
	if req.ID != doc.ID || req.Requester != alice.pubkey || !req.CreatedAt.Equal(now) || !req.ReceivedAt.Equal(doc.ReceivedAt) {
		t.Errorf("got %+v", req)
	}
	if !slices.Equal(req.Owners, []string{carol.pubkey, bob.pubkey}) {
		t.Errorf("owners %v are not in the order of the tags, each once", req.Owners)
	}
	if !req.PreferAddressable || parsed(t, p(bob.pubkey), nostr.Tag{"k", "443"}).PreferAddressable {
		t.Error("the tag k does not say which kind comes first")
	}
}

// parsed returns Alice's request with those tags, which must be valid.
func parsed(t testing.TB, tags ...nostr.Tag) *keypackage.Request {
	t.Helper()
	req, err := keypackage.ParseRequest(request(t, tags...), maxMin)
	if err != nil {
		t.Fatalf("tags %v: %v", tags, err)
	}
	return req
}
