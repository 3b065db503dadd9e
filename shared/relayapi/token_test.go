package relayapi

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// metadataServer stands in for Google's. It issues what is in tokens one after another, then nothing.
type metadataServer struct {
	t      *testing.T
	tokens chan string
	asked  atomic.Int32
}

func newMetadataServer(t *testing.T) *metadataServer {
	t.Helper()
	m := &metadataServer{t: t, tokens: make(chan string, 10)}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	return m
}

func (m *metadataServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	if !strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/identity") {
		http.NotFound(w, r)
		return
	}
	if audience := r.FormValue("audience"); audience != "https://relay.example" {
		m.t.Errorf("asked for a token for %q", audience)
	}
	m.asked.Add(1)
	select {
	case token := <-m.tokens:
		io.WriteString(w, token)
	default:
		http.NotFound(w, r)
	}
}

// issue makes the next token, one that ends then.
func (m *metadataServer) issue(ends time.Time) string {
	m.t.Helper()
	claims, err := json.Marshal(map[string]any{"aud": "https://relay.example", "exp": ends.Unix(), "iat": ends.Unix() - 3600})
	if err != nil {
		m.t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims) + "." + encode([]byte(ends.String()))
	m.tokens <- token
	return token
}

// A token goes with every push and is kept until it ends, also if the metadata server had it for a while; without one
// nothing is sent.
func TestTokens(t *testing.T) {
	metadata := newMetadataServer(t)
	var authorization string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		io.WriteString(w, `{"results":[]}`)
	}))
	t.Cleanup(server.Close)
	client, err := New(server.URL+Path, "https://relay.example")
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(want keypackage.PushResult, token string) {
		t.Helper()
		authorization = ""
		if got := client.Push(t.Context(), push()); got.Whole != want {
			t.Fatalf("got %+v, want %q", got, want)
		}
		if authorization != token {
			t.Fatalf("the relay got %q, want %q", authorization, token)
		}
	}

	deliver(keypackage.ResultNotSent, "")
	over := metadata.issue(time.Now().Add(-time.Second))
	deliver("", "Bearer "+over)
	fresh := metadata.issue(time.Now().Add(time.Hour))
	deliver("", "Bearer "+fresh)
	asked := metadata.asked.Load()
	deliver("", "Bearer "+fresh)
	if metadata.asked.Load() != asked {
		t.Error("a token that is still good was asked for again")
	}
}
