package page

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// people is those whom the page plays: one Bob, and a new Alice for each request, because one who asks too often is limited.
type people struct {
	relay string
	bob   actors.Key

	mu      sync.Mutex
	names   map[string]string // by public key
	offline []*actors.Requester
}

// How much is published and asked for: enough to see what is left.
const (
	published = 5
	wanted    = 2
)

// maxOffline bounds who waits at a time.
const maxOffline = 8

func newPeople(relay string) *people {
	bob := actors.NewKey()
	return &people{relay: relay, bob: bob, names: map[string]string{bob.Pubkey: "Bob"}}
}

// known returns who the page plays, and how many of them are offline.
func (c *people) known() (names map[string]string, offline int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.names), len(c.offline)
}

// play plays an action and tells what happened.
func (c *people) play(ctx context.Context, action string) (string, error) {
	play, ok := map[string]func(context.Context) (string, error){
		"publish": c.publish, "ask": c.ask, "read": c.read, "leave": c.askAndLeave, "return": c.comeBack,
	}[action]
	if !ok {
		return "", fmt.Errorf("nobody plays %q", action)
	}
	return play(ctx)
}

func (c *people) publish(ctx context.Context) (string, error) {
	bob, err := actors.ConnectOwner(ctx, c.relay, c.bob)
	if err != nil {
		return "", err
	}
	defer bob.Disconnect()
	_, err = bob.Stockpile(ctx, published)
	return fmt.Sprintf("Bob published %d KeyPackages and went offline", published), err
}

func (c *people) question() actors.Question {
	return actors.Question{Owners: []string{c.bob.Pubkey}, Min: wanted}
}

func (c *people) ask(ctx context.Context) (string, error) {
	alice, name, err := c.newAlice(ctx)
	if err != nil {
		return "", err
	}
	defer alice.Disconnect()
	if err := alice.Listen(ctx, c.bob.Pubkey); err != nil {
		return "", err
	}
	asked := time.Now()
	request, err := alice.Ask(ctx, c.question())
	if err != nil {
		return "", err
	}
	outcome, err := alice.AwaitOutcome(ctx, request)
	if err != nil {
		return "", err
	}
	granted := 0
	for _, row := range outcome.Rows {
		granted += row.Granted
	}
	return got(ctx, name, alice, granted, asked)
}

// read is what every Nostr client does: it subscribes, and leaves at EOSE.
func (c *people) read(ctx context.Context) (string, error) {
	alice, name, err := c.newAlice(ctx)
	if err != nil {
		return "", err
	}
	defer alice.Disconnect()
	asked := time.Now()
	filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{c.bob.Pubkey}}
	if err := alice.Subscribe(ctx, "bob", filter); err != nil {
		return "", err
	}
	return got(ctx, name, alice, 0, asked)
}

// got waits for n KeyPackages and tells of all that have come.
func got(ctx context.Context, name string, alice *actors.Requester, n int, asked time.Time) (string, error) {
	received, err := alice.AwaitKeyPackages(ctx, n)
	if len(received) == 0 {
		return name + " was told that there is nothing for her", err
	}
	last := received[len(received)-1].At.Sub(asked)
	return fmt.Sprintf("%s got %d of Bob's KeyPackages, the last after %d ms", name, len(received), last.Milliseconds()), err
}

// askAndLeave asks without listening, and is gone: what she is granted waits for her.
func (c *people) askAndLeave(ctx context.Context) (string, error) {
	if _, offline := c.known(); offline >= maxOffline {
		return "", errors.New("enough of them are offline: let one come back first")
	}
	alice, name, err := c.newAlice(ctx)
	if err != nil {
		return "", err
	}
	defer alice.Disconnect()
	if _, err := alice.Ask(ctx, c.question()); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offline = append(c.offline, alice)
	return name + " asked, and lost her network before anything reached her", nil
}

// comeBack brings the one back who has been away longest. She only listens.
func (c *people) comeBack(ctx context.Context) (string, error) {
	c.mu.Lock()
	if len(c.offline) == 0 {
		c.mu.Unlock()
		return "", errors.New("nobody is offline")
	}
	alice := c.offline[0]
	name := c.names[alice.Pubkey]
	c.offline = c.offline[1:]
	c.mu.Unlock()
	if err := alice.Connect(ctx); err != nil {
		return "", err
	}
	time.AfterFunc(patience, alice.Disconnect) // what waits for her comes by itself
	return name + " is back and listens for half a minute; she does not ask again", alice.Listen(ctx, c.bob.Pubkey)
}

func (c *people) newAlice(ctx context.Context) (*actors.Requester, string, error) {
	alice := actors.NewRequester(c.relay, actors.NewKey())
	if err := alice.Connect(ctx); err != nil {
		return nil, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := fmt.Sprintf("Alice %d", len(c.names)) // Bob is one of them
	c.names[alice.Pubkey] = name
	return alice, name, nil
}
