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
	switch action {
	case "publish":
		return c.publish(ctx)
	case "ask":
		return c.ask(ctx)
	case "read":
		return c.read(ctx)
	case "leave":
		return c.askAndLeave(ctx)
	case "return":
		return c.comeBack(ctx)
	}
	return "", fmt.Errorf("nobody plays %q", action)
}

func (c *people) publish(ctx context.Context) (string, error) {
	bob, err := actors.ConnectOwner(ctx, c.relay, c.bob)
	if err != nil {
		return "", err
	}
	defer bob.Disconnect()
	if _, err := bob.Stockpile(ctx, published); err != nil {
		return "", err
	}
	return fmt.Sprintf("Bob published %d KeyPackages and went offline", published), nil
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
	request, err := alice.Ask(ctx, actors.Question{Owners: []string{c.bob.Pubkey}, Min: wanted})
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
	received, err := alice.AwaitKeyPackages(ctx, granted)
	return c.got(name, received, asked), err
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
	received, err := alice.AwaitKeyPackages(ctx, 0)
	return c.got(name, received, asked), err
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
	if _, err := alice.Ask(ctx, actors.Question{Owners: []string{c.bob.Pubkey}, Min: wanted}); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offline = append(c.offline, alice)
	return name + " asked, and lost her network before anything reached her", nil
}

// comeBack brings the one back who has been away longest. She only listens.
func (c *people) comeBack(ctx context.Context) (string, error) {
	alice := c.longestAway()
	if alice == nil {
		return "", errors.New("nobody is offline")
	}
	if err := alice.Connect(ctx); err != nil {
		return "", err
	}
	time.AfterFunc(patience, alice.Disconnect) // what waits for her comes by itself
	if err := alice.Listen(ctx, c.bob.Pubkey); err != nil {
		return "", err
	}
	names, _ := c.known()
	return names[alice.Pubkey] + " is back and listens for half a minute; she does not ask again", nil
}

func (c *people) longestAway() *actors.Requester {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.offline) == 0 {
		return nil
	}
	alice := c.offline[0]
	c.offline = c.offline[1:]
	return alice
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

func (c *people) got(name string, received []actors.KeyPackage, asked time.Time) string {
	if len(received) == 0 {
		return name + " was told that there is nothing for her"
	}
	last := received[len(received)-1].At.Sub(asked)
	return fmt.Sprintf("%s got %d of Bob's KeyPackages, the last after %d ms", name, len(received), last.Milliseconds())
}
