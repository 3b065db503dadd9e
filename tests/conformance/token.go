package main

import (
	"context"
	"fmt"

	"cloud.google.com/go/auth/credentials/idtoken"
)

// FetchTokens gets the caller's tokens as the function does: from the metadata server, which GCE_METADATA_HOST names in the
// local suite, or from a service account's credentials in the environment.
func (t *Target) FetchTokens(ctx context.Context, audience string) (err error) {
	if t.Token, err = fetchToken(ctx, audience); err != nil {
		return err
	}
	t.OtherAudience, err = fetchToken(ctx, "https://relay.invalid")
	return err
}

func fetchToken(ctx context.Context, audience string) (string, error) {
	credentials, err := idtoken.NewCredentials(&idtoken.Options{Audience: audience})
	if err != nil {
		return "", fmt.Errorf("get an ID token (for the local suite, set GCE_METADATA_HOST; otherwise see -token): %w", err)
	}
	token, err := credentials.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("get an ID token: %w", err)
	}
	return token.Value, nil
}
