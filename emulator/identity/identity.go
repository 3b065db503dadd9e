// Package identity stands in for Google's identity on one machine: it issues the ID tokens that Cloud Run, Pub/Sub and
// Cloud Scheduler would present, and serves the metadata server from which a function fetches its own.
//
// Production code runs against it unchanged: GCE_METADATA_HOST, which Google's libraries read, leads them here.
package identity

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// lifetime of a token; Google's are valid for an hour too.
const lifetime = time.Hour

// Issuer issues and verifies ID tokens under a key of its own, made at the start. Its methods are safe for concurrent use.
type Issuer struct {
	project string
	key     jose.JSONWebKey // private
	signer  jose.Signer
	host    string
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
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: rand.Text(), Algorithm: string(jose.RS256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	listen, err := process.Listen(0)
	if err != nil {
		return nil, fmt.Errorf("listen for the metadata server: %w", err)
	}
	i := &Issuer{
		project: project, key: key, signer: signer, host: listen.Addr().String(), now: time.Now, minted: map[principal]minted{},
	}
	i.server = process.Serve(listen, i.routes())
	return i, nil
}

// Stop ends the server.
func (i *Issuer) Stop() error { return i.server.Close() }

// Host is the value for GCE_METADATA_HOST.
func (i *Issuer) Host() string { return i.host }

// URL is the "iss" of the tokens.
func (i *Issuer) URL() string { return "http://" + i.host }

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
	token, err := jwt.Signed(i.signer).Claims(map[string]any{ // those of a Google ID token of a service account
		"iss": i.URL(), "aud": audience, "sub": email, "email": email, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	i.minted[who] = minted{token: token, until: now.Add(lifetime / 2)}
	return token, nil
}

// Verify returns the e-mail address in a token that was issued here for audience and has not expired.
func (i *Issuer) Verify(token, audience string) (email string, err error) {
	var claims struct {
		Email string `json:"email"`
	}
	keys := &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{i.key.Public().Key}}
	verified, err := oidc.NewVerifier(i.URL(), keys, &oidc.Config{ClientID: audience, Now: i.now}).Verify(context.Background(), token)
	if err != nil {
		return "", err
	}
	err = verified.Claims(&claims)
	return claims.Email, err
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
	_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.key.Public()}})
}
