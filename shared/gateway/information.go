package gateway

import (
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func (g *Gateway) serveInformation(w http.ResponseWriter, r *http.Request) {
	var theirs upstream.Document
	if g.Upstream != nil {
		var err error
		if theirs, err = g.Upstream.Document(r.Context()); err != nil {
			g.Log.Warn("upstream has no document", "error", err)
		}
	}
	body, err := json.Marshal(g.merge(theirs), json.Deterministic(true))
	if err != nil {
		g.Log.Error("the NIP-11 document cannot be written", "error", err)
		http.Error(w, "error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/nostr+json")
	_, _ = w.Write(body)
}

// merge returns upstream's document with what is ours; everything else is as it was written.
func (g *Gateway) merge(theirs upstream.Document) map[string]any {
	document := map[string]any{}
	for name, value := range theirs {
		document[name] = value
	}
	requests := []string{"447"}
	if g.ReqClaims {
		requests = []string{"REQ", "447"}
	}
	document["keypackages"] = map[string]any{ // clients believe outcomes and notices of this key only
		"pubkey": g.Pubkey, "outcome_kind": keypackage.KindOutcome, "notice_kind": keypackage.KindLevel, "requests": requests,
		"limits": bounds.Others(),
	}
	document["limitation"] = stricter(theirs["limitation"])
	document["supported_nips"] = union(theirs["supported_nips"], 1, 9, 11, 42, 70)
	if g.Upstream == nil {
		document["name"] = "KeyPackage relay"
		document["description"] = "Keeps MLS KeyPackages (kinds 443 and 30443) and hands them out to who asks. Other kinds are refused."
		document["software"] = "https://github.com/keypackage-delivery/keypackage-delivery"
	}
	return document
}

// stricter adds our bounds to upstream's: where both have one, the stricter holds. What we know nothing of stays as it is.
func stricter(theirs jsontext.Value) map[string]any {
	var named map[string]jsontext.Value
	_ = json.Unmarshal(theirs, &named) // some relays may write something else
	merged := map[string]any{}
	for name, value := range named {
		merged[name] = value
	}
	for name, ours := range bounds.Limitation() {
		var other int
		if json.Unmarshal(named[name], &other) != nil || other <= 0 {
			other = ours
		}
		merged[name] = min(ours, other)
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
