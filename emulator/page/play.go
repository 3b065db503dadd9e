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

// How much is published and asked for, enough to see what is left, and how many are gone.
const (
	published  = 5
	wanted     = 2
	maxOffline = 8 // at a time
)

// people is those whom the page plays: one Bob, and a new Alice for each request, because one who asks too often is limited.
type people struct {
	relay    string
	bob      actors.Key
	question actors.Question // to Bob
	offline  chan *actors.Requester

	mu    sync.Mutex
	names map[string]string // by public key
}

func newPeople(relay string) *people {
	bob := actors.NewKey()
	return &people{
		relay: relay, bob: bob, question: actors.Question{Owners: []string{bob.Pubkey}, Min: wanted},
		offline: make(chan *actors.Requester, maxOffline), names: map[string]string{bob.Pubkey: "Bob"},
	}
}

// known returns who the page plays.
func (c *people) known() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.names)
}

// play plays an action and tells what happened.
func (c *people) play(ctx context.Context, action string) (string, error) {
	play, ok := map[string]func(context.Context) (string, error){
		"publish": c.publish, "ask": c.visit(c.ask), "read": c.visit(c.read), "leave": c.visit(c.leave), "return": c.comeBack,
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

// visit connects a new Alice, who goes again when she has done that.
func (c *people) visit(
	do func(ctx context.Context, alice *actors.Requester, name string) (string, error),
) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		alice := actors.NewRequester(c.relay, actors.NewKey())
		if err := alice.Connect(ctx); err != nil {
			return "", err
		}
		defer alice.Disconnect()
		c.mu.Lock()
		name := fmt.Sprintf("Alice %d", len(c.names)) // Bob is one of them
		c.names[alice.Pubkey] = name
		c.mu.Unlock()
		return do(ctx, alice, name)
	}
}

func (c *people) ask(ctx context.Context, alice *actors.Requester, name string) (string, error) {
	if err := alice.Listen(ctx, c.bob.Pubkey); err != nil {
		return "", err
	}
	asked := time.Now()
	request, err := alice.Ask(ctx, c.question)
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
func (c *people) read(ctx context.Context, alice *actors.Requester, name string) (string, error) {
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

// leave asks without listening, and is gone: what she is granted waits for her.
func (c *people) leave(ctx context.Context, alice *actors.Requester, name string) (string, error) {
	if len(c.offline) == maxOffline {
		return "", errors.New("enough of them are offline: let one come back first")
	}
	if _, err := alice.Ask(ctx, c.question); err != nil {
		return "", err
	}
	alice.Disconnect()
	select {
	case c.offline <- alice:
	case <-ctx.Done(): // others have left at the same moment, and nobody came back
	}
	return name + " asked, and lost her network before anything reached her", ctx.Err()
}

// comeBack brings the one back who has been away longest. She only listens.
func (c *people) comeBack(ctx context.Context) (string, error) {
	select {
	case alice := <-c.offline:
		if err := alice.Connect(ctx); err != nil {
			return "", err
		}
		time.AfterFunc(patience, alice.Disconnect) // what waits for her comes by itself
		told := c.known()[alice.Pubkey] + " is back and listens for half a minute; she does not ask again"
		return told, alice.Listen(ctx, c.bob.Pubkey)
	default:
		return "", errors.New("nobody is offline")
	}
}
