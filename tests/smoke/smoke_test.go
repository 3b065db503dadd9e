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
	report := Run(t.Context(), r.URL, time.Minute, func(Step) {})
	if !report.OK || report.Error != "" || report.Delivery <= 0 {
		t.Errorf("got %+v", report)
	}
	if n := left(t, r); n != 0 {
		t.Errorf("%d KeyPackages are left", n)
	}
}

func TestADeliveryThatDoesNotComeFailsAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	r := relaytest.Serve(t, map[string]string{config.RequestsServedBy: string(config.ServedByFunctions)}) // of which there are none
	ctx, giveUp := context.WithCancelCause(t.Context())
	report := Run(ctx, r.URL, time.Minute, func(s Step) {
		if strings.Contains(s.Text, "kind 447") {
			giveUp(errors.New("nothing came"))
		}
	})
	if report.OK || !strings.Contains(report.Error, "received 0 of 1 KeyPackages: nothing came") || report.Request == "" {
		t.Errorf("got %+v", report)
	}
	if n := left(t, r); n != 0 {
		t.Errorf("%d KeyPackages are left", n)
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
