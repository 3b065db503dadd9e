package relayapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Issuer issues ID tokens.
type Issuer struct {
	Name    string // "iss"
	KeysURL string // its JWK set
}

// Google issues the tokens of service accounts (https://developers.google.com/identity/openid-connect/openid-connect).
var Google = Issuer{"https://accounts.google.com", "https://www.googleapis.com/oauth2/v3/certs"}

// Caller says who may call the delivery endpoint. Every field is required.
type Caller struct {
	Issuer   Issuer
	Audience string // "aud": this relay
	Email    string // the service account of DeliverKeyPackages
}

// keysTimeout bounds one request for the issuer's keys.
const keysTimeout = 3 * time.Second

// Guard admits requests whose ID token was issued for us, to the caller, by the issuer, and has not expired. Whatever it
// cannot check, it refuses. It is safe for concurrent use.
type Guard struct {
	tokens *oidc.IDTokenVerifier
	email  string
}

// NewGuard returns a Guard. It does no I/O: the issuer's keys are fetched when they are needed.
func NewGuard(c Caller) (*Guard, error) {
	if slices.Contains([]string{c.Issuer.Name, c.Issuer.KeysURL, c.Audience, c.Email}, "") {
		return nil, errors.New("the caller of the delivery endpoint needs issuer, keys, audience and e-mail")
	}
	ctx := oidc.ClientContext(context.Background(), &http.Client{Timeout: keysTimeout})
	keys := oidc.NewRemoteKeySet(ctx, c.Issuer.KeysURL) // fetched when an unknown key id turns up, and cached
	return &Guard{oidc.NewVerifier(c.Issuer.Name, keys, &oidc.Config{ClientID: c.Audience}), c.Email}, nil
}

// Check returns 0 for the caller, otherwise the status that refuses the request: 401 for a token that is missing or wrong,
// 403 for a good token of somebody else. The error never contains the token.
func (g *Guard) Check(r *http.Request) (int, error) {
	scheme, raw, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return http.StatusUnauthorized, errors.New("no bearer token")
	}
	token, err := g.tokens.Verify(r.Context(), raw)
	if err != nil {
		return http.StatusUnauthorized, fmt.Errorf("ID token: %w", err)
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := token.Claims(&claims); err != nil {
		return http.StatusUnauthorized, errors.New("ID token: claims are of the wrong type")
	}
	if !claims.Verified || claims.Email != g.email {
		return http.StatusForbidden, errors.New("ID token is not the caller's")
	}
	return 0, nil
}
