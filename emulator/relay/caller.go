package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Caller says who may call the delivery endpoint. Every field is required.
type Caller struct {
	Issuer   string // "iss" of the ID token, for Google https://accounts.google.com
	KeysURL  string // the issuer's JWK set, for Google https://www.googleapis.com/oauth2/v3/certs
	Audience string // "aud": this relay
	Email    string // the service account of DeliverKeyPackages
}

// keysTimeout bounds one request for the issuer's keys.
const keysTimeout = 3 * time.Second

// door admits requests whose ID token was issued for us, to the caller, by the issuer, and has not expired. Whatever it
// cannot check, it refuses.
type door struct {
	tokens *oidc.IDTokenVerifier
	email  string
}

func newDoor(c Caller) (*door, error) {
	if c.Issuer == "" || c.KeysURL == "" || c.Audience == "" || c.Email == "" {
		return nil, errors.New("the caller of the delivery endpoint needs issuer, keys, audience and e-mail")
	}
	ctx := oidc.ClientContext(context.Background(), &http.Client{Timeout: keysTimeout})
	keys := oidc.NewRemoteKeySet(ctx, c.KeysURL) // fetched when an unknown key id turns up, and cached
	return &door{oidc.NewVerifier(c.Issuer, keys, &oidc.Config{ClientID: c.Audience}), c.Email}, nil
}

// check returns 0 for the caller, otherwise the status that refuses the request: 401 for a token that is missing or wrong,
// 403 for a good token of somebody else. The error never contains the token.
func (d *door) check(r *http.Request) (int, error) {
	scheme, raw, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return http.StatusUnauthorized, errors.New("no bearer token")
	}
	token, err := d.tokens.Verify(r.Context(), raw)
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
	if !claims.Verified || claims.Email != d.email {
		return http.StatusForbidden, errors.New("ID token is not the caller's")
	}
	return 0, nil
}
