package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/firestore"
	"github.com/coder/websocket"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// lie is what is wrong with a relay: how frames are changed on their way from the client and back, and what its NIP-11 document
// names as its key. A frame that becomes "" is lost.
type lie struct {
	up, down func(frame string) string
	pubkey   string
}

// lying puts a liar in front of a relay.
func lying(t *testing.T, target Target, l lie) Target {
	t.Helper()
	honest := target.Relay
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			l.serveDocument(w, strings.Replace(honest, "ws", "http", 1))
			return
		}
		client, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer client.CloseNow()
		relay, _, err := websocket.Dial(r.Context(), honest, nil)
		if err != nil {
			return
		}
		defer relay.CloseNow()
		go pump(r.Context(), relay, client, l.down)
		pump(r.Context(), client, relay, l.up)
	}))
	t.Cleanup(front.Close)
	target.Relay = strings.Replace(front.URL, "http", "ws", 1)
	return target
}

func (l lie) serveDocument(w http.ResponseWriter, honest string) {
	request, _ := http.NewRequest(http.MethodGet, honest, nil)
	request.Header.Set("Accept", "application/nostr+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	var document map[string]map[string]any
	body, _ := io.ReadAll(response.Body)
	_ = json.Unmarshal(body, &document) // other fields are not objects, which is an error at the end
	if l.pubkey != "" {
		document["keypackages"]["pubkey"] = l.pubkey
	}
	_ = json.NewEncoder(w).Encode(document)
}

func pump(ctx context.Context, from, to *websocket.Conn, change func(string) string) {
	defer to.CloseNow()
	from.SetReadLimit(maxFrame)
	for {
		_, frame, err := from.Read(ctx)
		if err != nil {
			return
		}
		changed := string(frame)
		if change != nil {
			changed = change(changed)
		}
		if changed != "" && to.Write(ctx, websocket.MessageText, []byte(changed)) != nil {
			return
		}
	}
}

func TestBrokenRelaysAreNamed(t *testing.T) {
	t.Parallel()
	says := func(from, to string) lie {
		return lie{down: func(frame string) string { return strings.Replace(frame, from, to, 1) }}
	}
	for name, tt := range map[string]struct {
		lie
		breaks string
	}{
		"it restricts without a way out": {says("auth-required:", "restricted:"), "auth-required"},
		"it accepts what it cannot read": {says(`,false,"invalid:`, `,true,"invalid:`), "answered"},
		"it takes a stranger's notices":  {says(`,false,"blocked: this kind`, `,true,"`), "announced"},
		"it signs with another key":      {lie{pubkey: strings.Repeat("a", 64)}, "outcome"},
		"it does not hear a CLOSE": {lie{up: func(frame string) string {
			if strings.HasPrefix(frame, `["CLOSE"`) {
				return ""
			}
			return frame
		}}, "order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := lying(t, serve(t, nil), tt.lie)
			fails := judge(t, target, "outcome", "announced", "auth-required", "several-keys", "order", "answered", "deleted")
			if !slices.Equal(fails, []string{tt.breaks}) {
				t.Errorf("named were %v, broken is %s", fails, tt.breaks)
			}
		})
	}
}

func TestBrokenDocumentsAreNamed(t *testing.T) {
	t.Parallel()
	target := serve(t, map[string]string{config.RequestsServedBy: string(config.ServedByFunctions)}) // so that requests stay open
	spoil := func(collection, id, field string, value any) {
		_, _ = target.Documents.Collection(collection).Doc(id).Update(t.Context(), []firestore.Update{{Path: field, Value: value}})
	}
	target = lying(t, target, lie{down: func(frame string) string {
		var m message
		if json.Unmarshal([]byte(frame), &m) == nil && m.text(0) == "OK" { // each document that is not there stays away
			spoil(target.Collections.KeyPackages, m.text(1), keypackage.FieldCreatedAt, "yesterday")
			spoil(target.Collections.Requests, m.text(1), keypackage.FieldOpen, firestore.Delete)
		}
		return frame
	}})
	want := []string{"documents", "open"}
	if fails := judge(t, target, want...); !slices.Equal(fails, want) {
		t.Errorf("named were %v, broken are %v", fails, want)
	}
}
