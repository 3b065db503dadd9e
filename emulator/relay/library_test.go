package relay

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"
)

func event(id, author string, kind int, created nostr.Timestamp, tags ...nostr.Tag) *nostr.Event {
	return &nostr.Event{ID: id, PubKey: author, Kind: kind, CreatedAt: created, Tags: tags}
}

func put(t *testing.T, l *library, e *nostr.Event, want error) {
	t.Helper()
	if got := l.put(e); !errors.Is(got, want) {
		t.Errorf("put %s: got %v, want %v", e.ID, got, want)
	}
}

func ids(events []*nostr.Event) string {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return fmt.Sprint(ids)
}

func TestLibraryServesNewestFirst(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	put(t, l, event("c", bob, 1, 10), nil)
	put(t, l, event("a", bob, 1, 20), nil)
	put(t, l, event("b", alice, 447, 10), nil)
	put(t, l, event("b", alice, 447, 10), eventstore.ErrDupEvent)
	for _, tt := range []struct {
		filter nostr.Filter
		want   string
	}{
		{nostr.Filter{}, "[a b c]"},
		{nostr.Filter{Limit: 2}, "[a b]"},
		{nostr.Filter{Authors: []string{bob}}, "[a c]"},
		{nostr.Filter{Kinds: []int{2}}, "[]"},
	} {
		if got := ids(page(l.query(tt.filter), tt.filter)); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.filter, got, tt.want)
		}
	}
}

func TestLibraryReplaces(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	d := nostr.Tag{"d", "x"}
	put(t, l, event("1", bob, 0, 10), nil)
	put(t, l, event("2", bob, 0, 11), nil)
	put(t, l, event("3", bob, 0, 11), eventstore.ErrDupEvent) // as old, but a higher id
	put(t, l, event("4", alice, 0, 1), nil)
	put(t, l, event("5", bob, 30000, 1, d), nil)
	put(t, l, event("6", bob, 30000, 1, nostr.Tag{"d", "y"}), nil)
	put(t, l, event("7", bob, 30000, 2, d), nil)
	if got := ids(page(l.query(nostr.Filter{}), nostr.Filter{})); got != "[2 7 4 6]" {
		t.Errorf("got %s", got)
	}
}

func TestLibraryDeletesForTheAuthorOnly(t *testing.T) {
	t.Parallel()
	l := newLibrary()
	d, at := nostr.Tag{"d", "x"}, "30000:"+bob+":x"
	put(t, l, event("1", bob, 1, 10), nil)
	put(t, l, event("2", bob, 30000, 10, d), nil)
	l.erase(event("9", alice, 5, 20, nostr.Tag{"e", "1"}, nostr.Tag{"a", at}))
	if len(l.query(nostr.Filter{})) != 2 {
		t.Error("a stranger deleted something")
	}
	deletion := event("8", bob, 5, 20, nostr.Tag{"e", "1"}, nostr.Tag{"e", "3"}, nostr.Tag{"a", at}, nostr.Tag{"e"}, nostr.Tag{"a", "x"})
	put(t, l, deletion, nil)
	l.erase(deletion)
	l.erase(event("7", bob, 5, 20, nostr.Tag{"e", "8"})) // NIP-09: has no effect
	if got := ids(l.query(nostr.Filter{})); got != "[8]" {
		t.Errorf("left are %s", got)
	}
	put(t, l, event("1", bob, 1, 10), errDeleted)
	put(t, l, event("3", bob, 1, 10), errDeleted)
	put(t, l, event("3", alice, 1, 10), nil)
	put(t, l, event("4", bob, 30000, 20, d), errDeleted)
	put(t, l, event("5", bob, 30000, 21, d), nil)
	put(t, l, event("6", bob, 1, 0), nil)
}
