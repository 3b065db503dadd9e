// Package identity stands in for Google's identity on one machine: it issues the ID tokens that Cloud Run, Pub/Sub and Cloud Scheduler
// would present, and serves the metadata server from which a function fetches its own. Production code runs against it unchanged:
// GCE_METADATA_HOST, which Google's libraries read, leads them here.
package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// lifetime of a token; Google's are valid for an hour too.
const lifetime = time.Hour

// Issuer issues ID tokens under a key of its own, made at the start. Its methods are safe for concurrent use.
type Issuer struct {
	project string
	key     jose.JSONWebKey // private
	signer  jose.Signer
	host    string
	server  *http.Server

	mu     sync.Mutex
	minted map[principal]minted
}

type (
	principal struct{ audience, email string } // whom a token is for and whom it is about
	minted    struct {
		token string
		until time.Time // when to mint another one
	}
)

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
	i := &Issuer{project: project, key: key, signer: signer, host: listen.Addr().String(), minted: map[principal]minted{}}
	i.server = process.Serve(listen, i.routes())
	return i, nil
}

// Stop ends the server.
func (i *Issuer) Stop() error { return i.server.Close() }

// Host is the value for GCE_METADATA_HOST.
func (i *Issuer) Host() string { return i.host }

// At is what whoever checks a token is to know of the Issuer at a host.
func At(host string) relayapi.Issuer {
	return relayapi.Issuer{Name: "http://" + host, KeysURL: "http://" + host + "/certs"}
}

// Account is the e-mail address of a service account in the project.
func (i *Issuer) Account(name string) string {
	return name + "@" + i.project + ".iam.gserviceaccount.com"
}

// FunctionAccount is who the functions are: the account whose tokens the metadata server hands out.
func (i *Issuer) FunctionAccount() string { return i.Account("keypackage-functions") }

// Mint returns a token that is good for 30 to 60 minutes. Like the metadata server it gives out the same one for a
// while, since a signature costs about a millisecond, as much as a whole call of a function.
func (i *Issuer) Mint(audience, email string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	who, now := principal{audience, email}, time.Now()
	if m := i.minted[who]; now.Before(m.until) {
		return m.token, nil
	}
	token, err := jwt.Signed(i.signer).Claims(map[string]any{ // those of a Google ID token of a service account
		"iss": At(i.host).Name, "aud": audience, "sub": email, "email": email, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	i.minted[who] = minted{token: token, until: now.Add(lifetime / 2)}
	return token, nil
}

func (i *Issuer) routes() http.Handler {
	const version = "/computeMetadata/v1/"
	const account = version + "instance/service-accounts/default/"
	metadata, all := http.NewServeMux(), http.NewServeMux()
	for path, value := range map[string]string{
		"/{$}": "computeMetadata/\n", version + "project/project-id": i.project,
		version + "universe/universe-domain": "googleapis.com", account + "email": i.FunctionAccount(),
	} {
		metadata.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, value) })
	}
	metadata.HandleFunc("GET "+account+"identity", i.serveToken)
	all.HandleFunc("GET /certs", func(w http.ResponseWriter, _ *http.Request) { // a JWK set (RFC 7517)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.key.Public()}})
	})
	all.Handle("/", flavored(metadata))
	return all
}

// serveToken answers https://cloud.google.com/run/docs/securing/service-identity#identity_tokens.
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	audience := r.FormValue("audience")
	if audience == "" {
		http.Error(w, "non-empty audience parameter required", http.StatusBadRequest)
		return
	}
	token, err := i.Mint(audience, i.FunctionAccount())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, token)
}

// flavored insists on a header that a forged browser request cannot carry, and returns it: so libraries recognise the server.
func flavored(metadata http.Handler) http.Handler {
	const flavor = "Metadata-Flavor"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(flavor, "Google")
		if r.URL.Path != "/" && r.Header.Get(flavor) != "Google" {
			http.Error(w, "missing header "+flavor+": Google", http.StatusForbidden)
			return
		}
		metadata.ServeHTTP(w, r)
	})
}
