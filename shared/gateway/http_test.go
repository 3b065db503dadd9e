package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
)

// ask sends an HTTP request as it stands and returns the answer's status and headers.
func (r *relay) ask(t testing.TB, head ...string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.http, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, strings.Join(head, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

const handshake = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

func TestTheDoor(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *gateway.Config) { c.Hosts = []string{"Relay.Example", "other:99", "::1"} })
	for name, tt := range map[string]struct {
		head []string
		want int
	}{
		"websocket":         {[]string{"GET / HTTP/1.1", "Host: relay.example", "Connection: Upgrade", "Upgrade: websocket", handshake}, 101},
		"in capitals":       {[]string{"GET /any/path HTTP/1.1", "Host: RELAY.example:443", "Connection: keep-alive, UPGRADE", "Upgrade: h2c, WebSocket", handshake}, 101},
		"from another page": {[]string{"GET / HTTP/1.1", "Host: relay.example", "Origin: https://a.example", "Connection: Upgrade", "Upgrade: websocket", handshake}, 101},
		"another name":      {[]string{"GET / HTTP/1.1", "Host: evil.example", "Connection: Upgrade", "Upgrade: websocket", handshake}, 421},
		"a named port":      {[]string{"GET / HTTP/1.1", "Host: other:99"}, 200},
		"another port":      {[]string{"GET / HTTP/1.1", "Host: other:98"}, 421},
		"IPv6":              {[]string{"GET / HTTP/1.1", "Host: [::1]:5"}, 200},
		"a document":        {[]string{"GET / HTTP/1.1", "Host: evil.example", "Accept: application/nostr+json"}, 421},
		"a POST":            {[]string{"POST / HTTP/1.1", "Host: relay.example", "Content-Length: 1000000000"}, 405},
		"a preflight":       {[]string{"OPTIONS / HTTP/1.1", "Host: relay.example"}, 204},
		"no handshake":      {[]string{"GET / HTTP/1.1", "Host: relay.example", "Upgrade: websocket"}, 426},
	} {
		response := r.ask(t, tt.head...)
		if response.StatusCode != tt.want || response.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d, %v; want %d", name, response.StatusCode, response.Header, tt.want)
		}
	}
}

func TestTheDocument(t *testing.T) {
	t.Parallel()
	u := newScripted()
	u.document = `{"name":"theirs","x":{"y":1.50},"supported_nips":[1,40],"limitation":{"max_subscriptions":7,"max_filters":9000,"auth_required":false,"z":"z"}}`
	r := startBefore(t, u, nil)
	for _, accept := range []string{"application/nostr+json", "text/html, Application/nostr+json;q=0.9", "application/json\r\nAccept: application/nostr+json"} {
		response := r.ask(t, "GET / HTTP/1.1", "Host: localhost", "Accept: "+accept)
		var got struct {
			Name        string
			X           json.RawMessage
			Nips        []int `json:"supported_nips"`
			Limitation  map[string]any
			Keypackages struct {
				Pubkey  string
				Outcome int      `json:"outcome_kind"`
				Notice  int      `json:"notice_kind"`
				Asks    []string `json:"requests"`
				Limits  map[string]any
			}
		}
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		l, k := got.Limitation, got.Keypackages
		if response.Header.Get("Content-Type") != "application/nostr+json" || got.Name != "theirs" || string(got.X) != `{"y":1.50}` ||
			!slices.Equal(got.Nips, []int{1, 9, 11, 40, 42, 70}) ||
			l["max_subscriptions"] != 7.0 || l["max_filters"] != 100.0 || l["max_message_length"] != 262144.0 || l["z"] != "z" || l["auth_required"] != false ||
			len(k.Pubkey) != 64 || k.Outcome != 20447 || k.Notice != 20448 || !slices.Equal(k.Asks, []string{"REQ", "447"}) || k.Limits["max_keys"] != 16.0 {
			t.Errorf("%s: %+v", accept, got)
		}
	}
	if response := r.ask(t, "GET / HTTP/1.1", "Host: localhost", "Accept: application/nostr+jsonx, text/html"); response.Header.Get("Content-Type") == "application/nostr+json" {
		t.Error("the document was not asked for")
	}
}

func TestADocumentWithoutUpstreams(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{"rubbish": `<html>`, "null": `null`, "a list": `[]`, "too long": `{"x":"` + strings.Repeat("x", 1<<19) + `"}`} {
		u := newScripted()
		u.document = document
		r := startBefore(t, u, nil)
		response := r.ask(t, "GET / HTTP/1.1", "Host: localhost", "Accept: application/nostr+json")
		var got map[string]any
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got["keypackages"] == nil || got["limitation"] == nil || got["x"] != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestTheDocumentIsKept(t *testing.T) {
	t.Parallel()
	asked := make(chan bool, 100)
	r := startBefore(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		_, _ = io.WriteString(w, `{"name":"theirs"}`)
	}), nil)
	for range 10 {
		r.ask(t, "GET / HTTP/1.1", "Host: localhost", "Accept: application/nostr+json")
	}
	if len(asked) != 1 {
		t.Errorf("upstream was asked %d times", len(asked))
	}
}

// Of X-Forwarded-For only what a trusted proxy has written counts.
func TestTheClientsAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hops    int
		headers []string
		want    string
	}{
		{0, []string{"1.1.1.1"}, "127.0.0.1"}, {1, nil, "127.0.0.1"}, {1, []string{"1.1.1.1"}, "1.1.1.1"}, {1, []string{"6.6.6.6, 1.1.1.1"}, "1.1.1.1"},
		{2, []string{"6.6.6.6, 1.1.1.1 ,2.2.2.2"}, "1.1.1.1"}, {1, []string{"6.6.6.6", "2001:db8::1"}, "2001:db8::1"}, {2, []string{"1.1.1.1"}, "127.0.0.1"},
	} {
		u := newScripted()
		r := startBefore(t, u, func(c *gateway.Config) { c.ProxyHops = tt.hops })
		r.dialAs(t, http.Header{"X-Forwarded-For": tt.headers, "X-Forwarded-Proto": {"https"}})
		got := u.accept(t).header
		scheme := map[bool]string{true: "https", false: "http"}[tt.hops > 0]
		if got.Get("X-Forwarded-For") != tt.want || got.Get("X-Forwarded-Proto") != scheme {
			t.Errorf("%d hops, %q: %v, want %s", tt.hops, tt.headers, got, tt.want)
		}
	}
}

func TestSessionsOfOneAddressAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *gateway.Config) { c.ProxyHops, c.Upstream = 1, nil })
	from := func(address string) http.Header { return http.Header{"X-Forwarded-For": {address}} }
	var first *client
	for i := range 250 {
		if c := r.dialAs(t, from("1.1.1.1")); i == 0 {
			first = c
		}
	}
	full := func() int {
		return r.ask(t, "GET / HTTP/1.1", "Host: localhost", "X-Forwarded-For: 1.1.1.1", "Connection: Upgrade", "Upgrade: websocket", handshake).StatusCode
	}
	if got := full(); got != http.StatusTooManyRequests {
		t.Errorf("one more: %d", got)
	}
	for i := range 250 {
		r.dialAs(t, from(fmt.Sprintf("2001:db8::%x", i)))
	}
	if got := r.ask(t, "GET / HTTP/1.1", "Host: localhost", "X-Forwarded-For: 2001:db8::ffff:1", "Connection: Upgrade", "Upgrade: websocket", handshake); got.StatusCode != http.StatusTooManyRequests {
		t.Errorf("another address of one network: %d", got.StatusCode)
	}
	r.dialAs(t, from("2001:db8:0:1::1"))
	r.dialAs(t, from("2.2.2.2"))
	_ = first.conn.CloseNow()
	eventually(t, "room for another", func() bool { return full() == http.StatusSwitchingProtocols })
}

func TestAConfigurationThatCannotWork(t *testing.T) {
	t.Parallel()
	s := &store{}
	ports := gateway.Ports{Publisher: s, Stock: s, Requests: s, Levels: s, Switch: s}
	for i, c := range []gateway.Config{{}, {Ports: ports}, {Ports: ports, Hosts: []string{"x"}}, {Hosts: []string{"x"}, Pubkey: "x"}} {
		if _, err := gateway.New(c); err == nil {
			t.Errorf("configuration %d is taken", i)
		}
	}
}
