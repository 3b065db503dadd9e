// Package cloud stands in for what Google puts in front of a function, and makes good what the emulators leave out, so
// that retries, duplicates and authentication are exercised on one machine as in the cloud:
//
//	Firestore emulator -> [Eventarc]   \
//	Pub/Sub emulator   -> [Push]        >  ID token -> [Authenticator] -> function process
//	clock              -> [Scheduler]  /
package cloud

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// Verifier says whose ID token for an audience it is. [identity.Issuer] is one.
type Verifier interface {
	Verify(token, audience string) (email string, err error)
}

// maxConcurrent is how many requests reach a function process at once; Cloud Run's default for one instance.
const maxConcurrent = 80

// Authenticator is a function's public address. As Cloud Run does for a function that is not public, it lets nobody through
// without a valid ID token (401), of an account that may invoke the function (403).
type Authenticator struct {
	verifier Verifier
	audience string
	invoker  string
	function http.Handler
}

// NewAuthenticator returns what stands before a function. Audience is the function's URL; invoker the account that may call it.
func NewAuthenticator(verifier Verifier, audience, invoker string, function http.Handler) *Authenticator {
	return &Authenticator{verifier, audience, invoker, function}
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

// ServeHTTP hands an authorised request to the function.
func (d *Authenticator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		http.Error(w, "an ID token is required", http.StatusUnauthorized)
		return
	}
	email, err := d.verifier.Verify(token, d.audience)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if email != d.invoker {
		http.Error(w, email+" may not invoke this function", http.StatusForbidden)
		return
	}
	d.function.ServeHTTP(w, r)
}
