// Package identity stands in for Google's identity on one machine: it issues the ID tokens that Cloud Run, Pub/Sub and
// Cloud Scheduler would present, and serves the metadata server from which a function fetches its own.
//
// Production code runs against it unchanged: GCE_METADATA_HOST, which Google's libraries read, leads them here.
package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// Issuer issues and verifies ID tokens under a key of its own, made at the start. Its methods are safe for concurrent use.
type Issuer struct {
	project string
	key     *rsa.PrivateKey
	keyID   string
	listen  net.Listener
	server  *http.Server
	now     func() time.Time

	mu     sync.Mutex
	minted map[principal]minted
}

// principal is whom a token is about and whom it is for.
type principal struct{ audience, email string }

type minted struct {
	token string
	until time.Time // when to mint another one
}

// Start makes a key and serves tokens on a free port of 127.0.0.1. The caller must call Stop.
func Start(project string) (*Issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the metadata server: %w", err)
	}
	i := &Issuer{project: project, key: key, keyID: rand.Text(), listen: listen, now: time.Now, minted: map[principal]minted{}}
	i.server = &http.Server{Handler: i.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = i.server.Serve(listen) }()
	return i, nil
}

// Stop ends the server.
func (i *Issuer) Stop() error { return i.server.Close() }

// Host is the value for GCE_METADATA_HOST.
func (i *Issuer) Host() string { return i.listen.Addr().String() }

// URL is the "iss" of the tokens.
func (i *Issuer) URL() string { return "http://" + i.Host() }

// KeysURL is where the public key is served as a JWK set (RFC 7517).
func (i *Issuer) KeysURL() string { return i.URL() + "/certs" }

// Account is the e-mail address of a service account in the project.
func (i *Issuer) Account(name string) string {
	return fmt.Sprintf("%s@%s.iam.gserviceaccount.com", name, i.project)
}

// FunctionAccount is who the functions are: the account whose tokens the metadata server hands out.
func (i *Issuer) FunctionAccount() string { return i.Account("keypackage-functions") }

// Mint returns a token that is good for 30 to 60 minutes. Like the metadata server it gives out the same one for a
// while, since a signature costs about a millisecond, as much as a whole call of a function.
func (i *Issuer) Mint(audience, email string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	who, now := principal{audience, email}, i.now()
	if m := i.minted[who]; now.Before(m.until) {
		return m.token, nil
	}
	token, err := i.sign(audience, email, now)
	if err != nil {
		return "", err
	}
	i.minted[who] = minted{token: token, until: now.Add(lifetime / 2)}
	return token, nil
}

func (i *Issuer) sign(audience, email string, now time.Time) (string, error) {
	return sign(i.key, i.keyID, claims{
		Issuer: i.URL(), Audience: audience, Subject: email, Email: email, EmailVerified: true,
		IssuedAt: now.Unix(), Expires: now.Add(lifetime).Unix(),
	})
}

// Verify returns the e-mail address in a token that was issued here for audience and has not expired.
func (i *Issuer) Verify(token, audience string) (email string, err error) {
	c, err := open(&i.key.PublicKey, token)
	switch {
	case err != nil:
		return "", err
	case c.Issuer != i.URL():
		return "", errors.New("the token is of another issuer")
	case c.Audience != audience:
		return "", errors.New("the token is for another audience")
	case i.now().Unix() >= c.Expires:
		return "", errors.New("the token has expired")
	}
	return c.Email, nil
}

func (i *Issuer) routes() http.Handler {
	const account = "GET /computeMetadata/v1/instance/service-accounts/default/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /certs", i.serveKeys)
	mux.HandleFunc("GET /{$}", metadata(func(*http.Request) (string, error) { return "computeMetadata/\n", nil }))
	mux.HandleFunc("GET /computeMetadata/v1/project/project-id", metadata(func(*http.Request) (string, error) { return i.project, nil }))
	mux.HandleFunc("GET /computeMetadata/v1/universe/universe-domain", metadata(func(*http.Request) (string, error) { return "googleapis.com", nil }))
	mux.HandleFunc(account+"email", metadata(func(*http.Request) (string, error) { return i.FunctionAccount(), nil }))
	mux.HandleFunc(account+"identity", metadata(i.identity))
	return mux
}

// identity answers https://cloud.google.com/run/docs/securing/service-identity#identity_tokens.
func (i *Issuer) identity(r *http.Request) (string, error) {
	audience := r.URL.Query().Get("audience")
	if audience == "" {
		return "", errors.New("non-empty audience parameter required")
	}
	return i.Mint(audience, i.FunctionAccount())
}

// metadata adds what every answer of the metadata server has: it insists on a header that a forged browser request
// cannot carry, and returns it, by which the libraries recognise the server.
func metadata(value func(*http.Request) (string, error)) http.HandlerFunc {
	const flavor = "Metadata-Flavor"
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(flavor, "Google")
		if r.URL.Path != "/" && r.Header.Get(flavor) != "Google" {
			http.Error(w, "missing header "+flavor+": Google", http.StatusForbidden)
			return
		}
		text, err := value(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, text)
	}
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": i.keyID,
		"n": encoding.EncodeToString(i.key.N.Bytes()),
		"e": encoding.EncodeToString(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
}
