package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/relay/relaytest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

func only(t *testing.T, r *relaytest.Relay, collection string) map[string]any {
	t.Helper()
	documents := all(t, r, collection)
	if len(documents) != 1 {
		t.Errorf("%d documents in %s", len(documents), collection)
		return map[string]any{}
	}
	return documents[0].Data()
}

func all(t *testing.T, r *relaytest.Relay, collection string) []*firestore.DocumentSnapshot {
	t.Helper()
	documents, err := r.Documents.Collection(collection).Documents(context.Background()).GetAll()
	if err != nil {
		t.Error(err)
	}
	return documents
}

// deliver does what the functions would do with the only request and the only KeyPackage.
func deliver(t *testing.T, r *relaytest.Relay) {
	keyPackage, request := only(t, r, r.Collections.KeyPackages), only(t, r, r.Collections.Requests)
	text := func(value any) string { s, _ := value.(string); return s }
	id := text(keyPackage["event_id"])
	body, err := json.Marshal(relayapi.DeliveryRequest{
		RequestEventID: strings.Repeat("0", 64), RequesterPubkey: text(request["pubkey"]),
		ExpiresAt: time.Now().Add(time.Minute).Unix(),
		Deliveries: []relayapi.Delivery{{
			ID: id, KeyPackageEventID: id, OwnerPubkey: text(keyPackage["owner_pubkey"]), Event: text(keyPackage["event"]),
		}},
	})
	if err != nil {
		t.Error(err)
	}
	push, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Endpoint, bytes.NewReader(body))
	push.Header.Set("Authorization", "Bearer "+r.Token())
	response, err := http.DefaultClient.Do(push)
	if err != nil {
		t.Error(err)
		return
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the push was answered %d", response.StatusCode)
	}
}

func TestADeliveryIsSeenAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	r := relaytest.Serve(t, false)
	report := Run(t.Context(), r.URL, time.Minute, func(s Step) {
		if strings.Contains(s.Text, "kind 447") {
			deliver(t, r)
		}
	})
	if !report.OK || report.Error != "" || report.Delivery <= 0 {
		t.Errorf("got %+v", report)
	}
	if left := all(t, r, r.Collections.KeyPackages); len(left) != 0 {
		t.Errorf("%d KeyPackages are left", len(left))
	}
}

func TestADeliveryThatDoesNotComeFailsAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	r := relaytest.Serve(t, false)
	ctx, giveUp := context.WithCancelCause(t.Context())
	report := Run(ctx, r.URL, time.Minute, func(s Step) {
		if strings.Contains(s.Text, "kind 447") {
			giveUp(errors.New("nothing came"))
		}
	})
	if report.OK || !strings.Contains(report.Error, "received 0 of 1 KeyPackages: nothing came") || report.Request == "" {
		t.Errorf("got %+v", report)
	}
	if left := all(t, r, r.Collections.KeyPackages); len(left) != 0 {
		t.Errorf("%d KeyPackages are left", len(left))
	}
}

func TestWhereNothingRunsItIsSaidHowToStart(t *testing.T) {
	t.Parallel()
	report := Run(t.Context(), "ws://127.0.0.1:1", time.Minute, func(Step) {})
	if report.OK || !strings.Contains(report.Error, "go run ./emulator up") {
		t.Errorf("got %+v", report)
	}
}

func TestURLsAreChecked(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{"wss://relay.example": true, "ws://127.0.0.1:7447": true, "https://relay.example": false, "relay.example": false, "ws://": false} {
		if err := actors.CheckRelayURL(url); (err == nil) != good {
			t.Errorf("%s: %v", url, err)
		}
	}
}
