package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Announcement is what a relay's NIP-11 document says of KeyPackages.
type Announcement struct {
	Pubkey   string   `json:"pubkey"` // of who signs outcomes and notices: nobody else's are believed
	Outcome  int      `json:"outcome_kind"`
	Notice   int      `json:"notice_kind"`
	Requests []string `json:"requests"` // the ways to ask: REQ, 447
}

// maxDocument is far above any document that is meant to be read.
const maxDocument = 1 << 20

// ReadAnnouncement asks the relay at a websocket URL. It fails if the relay names no key.
func ReadAnnouncement(ctx context.Context, url string) (Announcement, error) {
	said, err := readAnnouncement(ctx, url)
	if err == nil && !keypackage.IsPubkey(said.Pubkey) {
		err = errors.New("it names no key that outcomes and notices are signed with")
	}
	if err != nil {
		return Announcement{}, fmt.Errorf("NIP-11 document: %w", err)
	}
	return said, nil
}

func readAnnouncement(ctx context.Context, url string) (Announcement, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(url, "ws", "http", 1), nil)
	if err != nil {
		return Announcement{}, err
	}
	request.Header.Set("Accept", "application/nostr+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Announcement{}, err
	}
	defer response.Body.Close()
	var document struct {
		KeyPackages Announcement `json:"keypackages"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxDocument)).Decode(&document)
	return document.KeyPackages, err
}
