// Package demo plays the main job of KeyPackage delivery, in each way in which it can be done, and three harder cases, with real
// MLS KeyPackages over real websockets, and checks every promise that its audience can see.
package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// System is the running system that the demo is played on.
type System struct {
	Relay    string        // websocket URL
	Store    *store.Store  // to look at the state of deliveries; the demo writes nothing
	Patience time.Duration // how long an act may take
}

// script is an act as it is written: the owner stocks up and goes offline, the requesters connect, and the steps follow.
type script struct {
	title      string
	functions  bool // by the functions alone, not by the gateway
	owner      string
	stocked    int // KeyPackages that the owner publishes
	requesters []string
	wanted     int // KeyPackages by each requester
	steps      []step
}

type step func(*act, context.Context) error

var (
	alice = []string{"Alice"}
	acts  = []script{
		{"Alice reads Bob's KeyPackages, as any client does", false, "Bob", 3, alice, 1, []step{(*act).read, (*act).compareStock}},
		{"Alice adds Bob to a group while he is offline", false, "Bob", 5, alice, 3, mainJob},
		{"Alice asks, loses her connection, and comes back", false, "Carol", 3, alice, 2, []step{
			(*act).ask, (*act).loseConnection, (*act).comeBack, (*act).receive, (*act).compareStock,
		}},
		{"Two strangers want Dave's last KeyPackage", false, "Dave", 1, []string{"Frank", "Grace"}, 1, []step{
			(*act).listen, (*act).ask, (*act).receive, (*act).compareStock,
		}},
		{"Erin has never published a KeyPackage", false, "Erin", 0, alice, 1, []step{(*act).listen, (*act).ask, (*act).receive}},
		{"Alice adds Bob, by the three functions alone", true, "Bob", 5, alice, 3, mainJob},
	}
	// mainJob is what MLS was made for.
	mainJob = []step{(*act).listen, (*act).ask, (*act).receive, (*act).awaitRecord, (*act).compareStock}
)

// Play plays the acts until one fails, tells what happens while it happens, and reports whether everything promised was seen: in
// one system the gateway serves requests, in the other the functions alone do. If ctx ends it stops and returns the cause: what
// the act did not see then says nothing about the system.
func Play(ctx context.Context, gateway, functions System, printer *Printer) (ok bool, err error) {
	begun := time.Now()
	var played []*act
	for i, script := range acts {
		script.title = fmt.Sprintf("%d. %s", i+1, script.title)
		a := &act{script: script, System: gateway, Printer: printer}
		if script.functions {
			a.System = functions
		}
		played = append(played, a)
		a.heading(a.title)
		err := a.perform(ctx)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err != nil {
			a.fail(err)
			break
		}
		a.ok = true
	}
	return printer.summary(played, len(acts), time.Since(begun)), nil
}

// act is an act that is being played, or was.
type act struct {
	script
	System
	*Printer

	key       actors.Key     // the owner's
	published []*nostr.Event // by the owner, in the order in which they are to be handed out
	cast      []*requester

	ok       bool
	promises int           // seen
	clocked  time.Time     // since when steps are timed
	last     time.Duration // when the last of them happened
}

type requester struct {
	*actors.Requester
	name    string
	request string // its id, once asked
}

func (a *act) perform(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("gave up after %v", a.Patience))
	defer cancel()
	for _, play := range append([]step{(*act).stockUp, (*act).connect}, a.steps...) {
		if err := play(a, ctx); err != nil {
			return err
		}
	}
	return nil
}
