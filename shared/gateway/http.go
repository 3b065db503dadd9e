package gateway

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ServeHTTP serves websockets and the NIP-11 document, under the gateway's own names only: what NIP-42 compares an
// authentication with is the address that the client used, and a request under a foreign name could carry what was signed for
// somebody else. It reads no body.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*") // NIP-11
	header.Set("Access-Control-Allow-Headers", "*")
	header.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
	switch {
	case !g.isOurs(r.Host):
		http.Error(w, "this relay has another name", http.StatusMisdirectedRequest)
	case lists(r.Header, "Upgrade", "websocket"):
		g.serveSession(w, r)
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Connection", "close") // or the server would read the body, however long it is
		http.Error(w, "only GET and websockets", http.StatusMethodNotAllowed)
	case lists(r.Header, "Accept", "application/nostr+json"):
		g.serveInformation(w, r)
	default:
		header.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("This is a Nostr relay. Use a Nostr client to connect.\n"))
	}
}

// isOurs reports whether a host, with or without a port, is one of the gateway's names. A name without a port stands for all.
func (g *Gateway) isOurs(host string) bool {
	return slices.ContainsFunc(g.Hosts, func(ours string) bool {
		return strings.EqualFold(ours, host) || strings.EqualFold(ours, hostname(host))
	})
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// lists reports whether a header's list has the token, in any case, among others or with parameters (RFC 9110).
func lists(header http.Header, name, token string) bool {
	for value := range strings.SplitSeq(strings.Join(header.Values(name), ","), ",") {
		value, _, _ = strings.Cut(value, ";")
		if strings.EqualFold(strings.TrimSpace(value), token) {
			return true
		}
	}
	return false
}

// clientOf says who is at the other end. Of X-Forwarded-For only the entry counts that the trusted proxies have written: what
// stands left of it is whatever the client has made up.
func (g *Gateway) clientOf(r *http.Request) upstream.Client {
	client := upstream.Client{Address: hostname(r.RemoteAddr), Host: r.Host, Scheme: "http"}
	if g.ProxyHops == 0 {
		return client
	}
	entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if i := len(entries) - g.ProxyHops; i >= 0 && strings.TrimSpace(entries[i]) != "" {
		client.Address = strings.TrimSpace(entries[i])
	}
	if r.Header.Get("X-Forwarded-Proto") == "https" {
		client.Scheme = "https"
	}
	return client
}

// serveSession opens a session and returns when it has ended and all that it has begun.
func (g *Gateway) serveSession(w http.ResponseWriter, r *http.Request) {
	client := g.clientOf(r)
	neighbour, refused := g.addresses.Admit(client.Address)
	if refused != "" {
		status := http.StatusServiceUnavailable
		if refused == bounds.TooMany {
			status = http.StatusTooManyRequests
		}
		http.Error(w, string(refused), status)
		return
	}
	defer g.addresses.Leave(neighbour)
	// NIP-01 knows no origins: any page may talk to any relay, and no cookie says who it is.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // it has been answered
	}
	conn.SetReadLimit(bounds.MaxMessage)
	newSession(g, conn, client, neighbour.Limits).run(r.Context())
}

// serveInformation serves the NIP-11 document.
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
