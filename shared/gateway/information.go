package gateway

import (
	"maps"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func (g *Gateway) serveInformation(w http.ResponseWriter, r *http.Request) {
	document := upstream.Document{}
	if g.Upstream != nil {
		theirs, err := g.Upstream.Document(r.Context())
		if err != nil {
			g.Log.Warn("upstream has no document", "error", err)
		}
		maps.Copy(document, theirs)
	}
	g.merge(document)
	body, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		g.Log.Error("the NIP-11 document cannot be written", "error", err)
		http.Error(w, "error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/nostr+json")
	_, _ = w.Write(body)
}

// merge adds what is ours to upstream's document and leaves everything else as it is.
func (g *Gateway) merge(document upstream.Document) {
	requests := []string{"447"}
	if g.ReqClaims {
		requests = []string{"REQ", "447"}
	}
	document["keypackages"] = encoded(map[string]any{ // clients believe outcomes and notices of this key only
		"pubkey": g.Pubkey, "outcome_kind": keypackage.KindOutcome, "notice_kind": keypackage.KindLevel, "requests": requests,
		"limits": bounds.Others(),
	})
	document["limitation"] = encoded(stricter(document["limitation"]))
	document["supported_nips"] = encoded(union(document["supported_nips"], 1, 9, 11, 42, 70))
	if g.Upstream == nil {
		document["name"] = encoded("KeyPackage relay")
		document["description"] = encoded("Keeps MLS KeyPackages (kinds 443 and 30443) and hands them out to who asks. Other kinds are refused.")
		document["software"] = encoded("https://github.com/keypackage-delivery/keypackage-delivery")
	}
}

// stricter adds our bounds to upstream's: where both have one, the stricter holds. What we know nothing of stays as it is.
func stricter(theirs jsontext.Value) map[string]jsontext.Value {
	var merged map[string]jsontext.Value
	if json.Unmarshal(theirs, &merged) != nil || merged == nil {
		merged = map[string]jsontext.Value{}
	}
	for name, ours := range bounds.Limitation() {
		var other int
		if json.Unmarshal(merged[name], &other) != nil || other <= 0 {
			other = ours
		}
		merged[name] = encoded(min(ours, other))
	}
	return merged
}

func union(theirs jsontext.Value, ours ...int) []int {
	var all []int
	if json.Unmarshal(theirs, &all) != nil {
		all = nil // some relays write names among the numbers
	}
	return slices.Compact(slices.Sorted(slices.Values(append(all, ours...))))
}

// encoded writes maps, lists, numbers and strings of our own, which always encode.
func encoded(v any) jsontext.Value {
	raw, _ := json.Marshal(v, json.Deterministic(true)) // without it the whole document would fail to encode
	return raw
}
