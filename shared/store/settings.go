package store

import (
	"context"
	"errors"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Documents that live beside the claims. No claim can have their names: theirs hold the id of a request and an underscore behind it.
const (
	modeDocument   = "mode"
	secretDocument = "gateway"
)

// Mode implements rollout.Document. A field that holds no text reads as an empty word.
func (s *Store) Mode(ctx context.Context) (word string, exists bool, err error) {
	snap, err := s.one(ctx, s.claims.Doc(modeDocument))
	if err != nil {
		return "", false, err
	}
	word, _ = snap.Data()["mode"].(string)
	return word, snap.Exists(), nil
}

// SetMode writes the document that makes the mode of all processes more careful.
func (s *Store) SetMode(ctx context.Context, mode keypackage.Mode) error {
	_, err := s.claims.Doc(modeDocument).Set(ctx, map[string]any{"mode": string(mode)})
	return failed("set the mode", err)
}

// ClearMode removes that document, if it is there: the setting counts again.
func (s *Store) ClearMode(ctx context.Context) error {
	_, err := s.claims.Doc(modeDocument).Delete(ctx)
	return failed("clear the mode", err)
}

// SecretKey returns the key by which gateways sign what they tell, which is the one that the first of them has made.
func (s *Store) SecretKey(ctx context.Context, made string) (string, error) {
	t := s.begin()
	t.create(s.claims.Doc(secretDocument), map[string]any{"secret_key": made})
	if err := t.commit(ctx, "keep the gateway's key"); !errors.Is(err, keypackage.ErrConflict) {
		return made, err
	}
	snap, err := s.one(ctx, s.claims.Doc(secretDocument))
	if err != nil {
		return "", err
	}
	key, _ := snap.Data()["secret_key"].(string)
	return key, nil
}
