package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/relaytest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

// left returns how many KeyPackages the relay still has.
func left(t *testing.T, r *relaytest.Relay) int {
	t.Helper()
	documents, err := r.Documents.Collection(r.Collections.KeyPackages).Documents(context.Background()).GetAll()
	if err != nil {
		t.Error(err)
	}
	return len(documents)
}

func TestADeliveryIsSeenAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	r := relaytest.Serve(t, nil)
	a, err := try(t.Context(), r.URL, time.Minute, func(string) {})
	if err != nil || a.delivery <= 0 {
		t.Errorf("delivered after %v: %v", a.delivery, err)
	}
	if n := left(t, r); n != 0 {
		t.Errorf("%d KeyPackages are left", n)
	}
}

func TestADeliveryThatDoesNotComeFailsAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	r := relaytest.Serve(t, map[string]string{config.RequestsServedBy: string(config.ServedByFunctions)}) // of which there are none
	ctx, giveUp := context.WithCancelCause(t.Context())
	a, err := try(ctx, r.URL, time.Minute, func(step string) {
		if strings.Contains(step, "kind 447") {
			giveUp(errors.New("nothing came"))
		}
	})
	if err == nil || !strings.Contains(err.Error(), "received 0 of 1 KeyPackages: nothing came") || a.request == "" {
		t.Errorf("request %q: %v", a.request, err)
	}
	if n := left(t, r); n != 0 {
		t.Errorf("%d KeyPackages are left", n)
	}
}

func TestWhereNothingRunsItIsSaidHowToStart(t *testing.T) {
	t.Parallel()
	_, err := try(t.Context(), "ws://127.0.0.1:1", time.Minute, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "go run ./emulator up") {
		t.Error(err)
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
