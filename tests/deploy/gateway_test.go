package deploy

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// TestUploadServesTheGateway plays both ways of asking through the gateway that the upload becomes: alone, with no other function
// running.
func TestUploadServesTheGateway(t *testing.T) {
	t.Parallel()
	program := build(t).program
	db := fixture.New(t)
	createTopics(t, db)
	f := start(t, program, relayGateway, map[string]string{
		"GOOGLE_CLOUD_PROJECT": db.Project, "RELAY_AUDIENCE": "keypackage-gateway", "DELIVERY_CALLER": "deliver@example.com",
	})
	defer func() {
		if t.Failed() {
			t.Log(f.log(t))
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url := strings.Replace(f.url, "http", "ws", 1)
	owner, err := actors.ConnectOwner(ctx, url, actors.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Disconnect()
	if _, err := owner.Stockpile(ctx, 3); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for way, ask := range map[string]func(*actors.Requester) error{
		"REQ": func(r *actors.Requester) error {
			filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{owner.Key.Pubkey}}
			return r.Subscribe(ctx, "a", filter)
		},
		"447": func(r *actors.Requester) error {
			if err := r.Listen(ctx, owner.Key.Pubkey); err != nil {
				return err
			}
			_, err := r.Ask(ctx, actors.Question{Owners: []string{owner.Key.Pubkey}})
			return err
		},
	} {
		requester := actors.NewRequester(url, actors.NewKey())
		if err := requester.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		defer requester.Disconnect()
		if err := ask(requester); err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		received, err := requester.AwaitKeyPackages(ctx, 1)
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		got[received[0].Event.ID] = true
	}
	if len(got) != 2 {
		t.Errorf("two requesters got %d KeyPackages, want one each", len(got))
	}
}
