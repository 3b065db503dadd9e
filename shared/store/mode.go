package store

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// modeDocument lives beside the claims. No claim can have its name: theirs hold the id of a request and an underscore behind
// it.
const modeDocument = "mode"

// Mode implements rollout.Document. A field that holds no text reads as an empty word.
func (s *Store) Mode(ctx context.Context) (word string, exists bool, err error) {
	snap, err := s.claims.Doc(modeDocument).Get(ctx)
	if status.Code(err) == codes.NotFound {
		return "", false, nil
	}
	if err != nil {
		return "", false, failed("read the mode", err)
	}
	word, _ = snap.Data()["mode"].(string)
	return word, true, nil
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
