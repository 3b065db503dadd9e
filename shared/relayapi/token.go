package relayapi

import (
	"context"
	"sync"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials/idtoken"
)

// tokens hands out ID tokens for one audience. The credentials are found on first use, because looking for them may ask
// the metadata server, and then cache the token until shortly before it expires.
type tokens struct {
	audience string

	mu    sync.Mutex
	found *auth.Credentials
}

func (t *tokens) get(ctx context.Context) (string, error) {
	credentials, err := t.credentials()
	if err != nil {
		return "", err
	}
	token, err := credentials.Token(ctx)
	if err != nil {
		return "", err
	}
	return token.Value, nil
}

func (t *tokens) credentials() (*auth.Credentials, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.found != nil {
		return t.found, nil
	}
	found, err := idtoken.NewCredentials(&idtoken.Options{Audience: t.audience})
	if err != nil {
		return nil, err
	}
	t.found = found
	return found, nil
}
