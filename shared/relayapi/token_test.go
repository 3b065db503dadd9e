package relayapi

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// metadataServer stands in for Google's; each token is different. It serves none while down is set.
func metadataServer(t *testing.T) (down *atomic.Bool) {
	t.Helper()
	down = new(atomic.Bool)
	var issued atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if down.Load() || !strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/identity") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "%s#%d", r.FormValue("audience"), issued.Add(1))
	}))
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	return down
}

func TestTokens(t *testing.T) {
	down := metadataServer(t)
	var authorization string
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		w.WriteHeader(code)
		io.WriteString(w, `{"results":[]}`)
	}))
	t.Cleanup(server.Close)
	client, err := New(server.URL+Path, "https://relay.example")
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(want keypackage.PushResult, wantAuthorization string) {
		t.Helper()
		authorization = ""
		if got := client.Push(t.Context(), push()); got.Whole != want {
			t.Fatalf("got %+v, want %v", got, want)
		}
		if authorization != wantAuthorization {
			t.Fatalf("the relay got %q, want %q", authorization, wantAuthorization)
		}
	}

	down.Store(true)
	deliver(keypackage.ResultNotSent, "")
	down.Store(false)
	deliver("", "Bearer https://relay.example#1")
	deliver("", "Bearer https://relay.example#1") // cached
	code = http.StatusUnauthorized
	deliver(keypackage.ResultRefused, "Bearer https://relay.example#1")
	code = http.StatusOK
	deliver("", "Bearer https://relay.example#2") // renewed after the 401
}
