package relayapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	// answerWithin is what a push may take, of the 5 s that a relay promises. What is not written by then is dropped or unknown.
	answerWithin = 4 * time.Second
	// readTimeout bounds the receipt of a request. It is a second at most that the rest of the answer takes.
	readTimeout = 3 * time.Second
	// maxPushes is how many pushes are worked on at a time; each may hold a body of [MaxRequestBytes].
	maxPushes = 16
)

// Endpoint is the relay's side: it takes pushes in and makes them to sessions of this process. It is safe for concurrent use.
type Endpoint struct {
	guard    *Guard
	sessions delivering.Relay
	pushes   chan struct{} // one for each push in progress
	log      *slog.Logger
}

// NewEndpoint returns the endpoint that the guard guards.
func NewEndpoint(guard *Guard, sessions delivering.Relay, log *slog.Logger) *Endpoint {
	return &Endpoint{guard, sessions, make(chan struct{}, maxPushes), log}
}

// ServeHTTP implements http.Handler. Whatever it refuses it has not begun. It reads nothing of who is not the caller.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerWithin)
	defer cancel()
	refuse := func(status int, err error) {
		e.log.Warn("push refused", "status", status, "error", err)
		w.Header().Set("Connection", "close") // or the server would read the rest of the body, however long it is
		http.Error(w, http.StatusText(status), status)
	}
	if r.Method != http.MethodPost {
		refuse(http.StatusMethodNotAllowed, errors.New("not a POST"))
		return
	}
	if status, err := e.guard.Check(r.WithContext(ctx)); err != nil {
		refuse(status, err)
		return
	}
	select {
	case e.pushes <- struct{}{}:
		defer func() { <-e.pushes }()
	default:
		refuse(http.StatusTooManyRequests, errors.New("too many pushes at a time"))
		return
	}
	request, status, err := readRequest(w, r)
	if err != nil {
		refuse(status, err)
		return
	}
	results := e.sessions.Push(ctx, request.push())
	answer := DeliveryResponse{Results: make([]Result, len(request.Deliveries))}
	for i, d := range request.Deliveries {
		answer.Results[i] = Result{ID: d.ID, Status: results.Of(d.ID)}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a caller that has gone asks again
}

func readRequest(w http.ResponseWriter, r *http.Request) (request DeliveryRequest, status int, err error) {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(readTimeout)) // cannot fail on net/http's server
	defer func() { _ = connection.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequestBytes))
	switch tooLarge := new(http.MaxBytesError); {
	case errors.As(err, &tooLarge):
		return request, http.StatusRequestEntityTooLarge, errors.New("the body is too large")
	case err != nil:
		return request, http.StatusRequestTimeout, errors.New("the body did not arrive")
	case json.Unmarshal(body, &request) != nil || !wellFormed(request):
		return request, http.StatusBadRequest, errors.New("the body is not a DeliveryRequest")
	}
	return request, http.StatusOK, nil
}

func wellFormed(r DeliveryRequest) bool {
	hasNoID := func(d Delivery) bool { return d.ID == "" }
	return keypackage.IsEventID(r.RequestEventID) && keypackage.IsPubkey(r.RequesterPubkey) &&
		r.Deliveries != nil && !slices.ContainsFunc(r.Deliveries, hasNoID)
}

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

// Guard admits requests whose ID token was issued for us, to the caller, by the issuer, and has not expired. Whatever it cannot check,
// it refuses. It is safe for concurrent use.
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
