// Package cloud stands in for what Google puts in front of a function, and makes good what the emulators leave out, so
// that retries, duplicates and authentication are exercised on one machine as in the cloud:
//
//	Firestore emulator -> [Eventarc]   \
//	Pub/Sub emulator   -> [Push]        >  ID token -> [NewAuthenticator] -> function process
//	clock              -> [Tick]       /
package cloud

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
)

// maxConcurrent is how many requests reach a function process at once; Cloud Run's default for one instance.
const maxConcurrent = 80

// NewAuthenticator returns a function's public address. As Cloud Run does for a function that is not public, it lets nobody
// through without a valid ID token for the audience, which is the function's URL (401), of the account that may invoke it (403).
func NewAuthenticator(issuer *identity.Issuer, audience, invoker string, function http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			http.Error(w, "an ID token is required", http.StatusUnauthorized)
			return
		}
		email, err := issuer.Verify(token, audience)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case email != invoker:
			http.Error(w, email+" may not invoke this function", http.StatusForbidden)
		default:
			function.ServeHTTP(w, r)
		}
	})
}

// NewProxy returns a handler that passes requests on, under its name, to the process that listens at backend, host:port.
func NewProxy(backend string) *httputil.ReverseProxy {
	target := &url.URL{Scheme: "http", Host: backend}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{
			MaxConnsPerHost:     maxConcurrent,
			MaxIdleConnsPerHost: maxConcurrent,
			IdleConnTimeout:     time.Minute,
		},
		// A process that is down is an ordinary event here: the caller sees 502 and retries.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}
