package store

import (
	"context"
	"errors"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// secretDocument lives beside the claims, as the mode does.
const secretDocument = "gateway"

// SecretKey returns the key by which gateways sign what they tell. If there is none yet it becomes the given one: whoever comes
// first has made the key of all.
func (s *Store) SecretKey(ctx context.Context, made string) (string, error) {
	t := s.begin()
	t.create(s.claims.Doc(secretDocument), map[string]any{"secret_key": made})
	if _, err := t.commit(ctx, "keep the gateway's key"); err == nil {
		return made, nil
	} else if !errors.Is(err, keypackage.ErrConflict) {
		return "", err
	}
	snap, err := s.claims.Doc(secretDocument).Get(ctx)
	if err != nil {
		return "", failed("read the gateway's key", err)
	}
	key, _ := snap.Data()["secret_key"].(string)
	return key, nil
}
