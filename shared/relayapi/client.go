package relayapi

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials/idtoken"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
)

var _ delivering.Relay = (*Client)(nil)

// Client pushes deliveries to one relay. It keeps connections and tokens between pushes and is safe for concurrent use.
type Client struct {
	endpoint string
	tokens   *tokens // nil: no token
	http     *http.Client
}

// New returns a client for the delivery endpoint at rawURL, which must be a valid setting. Each push carries a Google ID
// token for audience; an empty audience means no token, which only a loopback host may be addressed without. New does no
// I/O, and its errors do not name the address.
func New(rawURL, audience string) (*Client, error) {
	if err := config.CheckRelayURL(rawURL); err != nil {
		return nil, errors.New("relay endpoint " + err.Error())
	}
	c := &Client{endpoint: rawURL, http: httpClient()}
	switch {
	case audience != "":
		c.tokens = &tokens{audience: audience}
	case !config.Loopback(rawURL):
		return nil, errors.New("relay endpoint needs an ID-token audience")
	}
	return c, nil
}

// httpClient follows no redirect: a relay that moved must be configured, and the token is for its origin only. It speaks
// HTTP/1.1, because whether a failed request may have been written (see [Client.Push]) rests on that transport's rules for
// retries. It has no time limit of its own: the context of a push ends before its lease does.
func httpClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns // there is one host
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// tokens hands out ID tokens for one audience. The credentials are found on first use, because looking for them may ask
// the metadata server, and then cache the token until shortly before it expires.
type tokens struct {
	audience string

	mu    sync.Mutex
	found *auth.Credentials
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	if t.found == nil {
		found, err := idtoken.NewCredentials(&idtoken.Options{Audience: t.audience})
		if err != nil {
			t.mu.Unlock()
			return "", err
		}
		t.found = found
	}
	t.mu.Unlock()
	token, err := t.found.Token(ctx)
	if err != nil {
		return "", err
	}
	return token.Value, nil
}
