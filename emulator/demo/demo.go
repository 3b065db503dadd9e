// Package demo plays the main job of KeyPackage delivery, in each way in which it can be done, and three harder cases, with real
// MLS KeyPackages over real websockets, and checks every promise that its audience can see.
package demo

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/firestore"
)

// System is the running system that the demo is played on.
type System struct {
	Relay      string            // websocket URL
	Firestore  *firestore.Client // to look at the state of deliveries; the demo writes nothing
	Deliveries string            // their collection
	Patience   time.Duration     // how long an act may take
}

// acts are played in this order, each with people of its own.
var acts = []struct {
	title     string
	functions bool // by the functions alone, not by the gateway
	play      func(context.Context, *act) error
}{
	{"Alice reads Bob's KeyPackages, as any client does", false, ordinaryClient},
	{"Alice adds Bob to a group while he is offline", false, whileOwnerIsOffline},
	{"Alice asks, loses her connection, and comes back", false, whileRequesterIsOffline},
	{"Two strangers want Dave's last KeyPackage", false, lastKeyPackage},
	{"Erin has never published a KeyPackage", false, noKeyPackage},
	{"Alice adds Bob, by the three functions alone", true, whileOwnerIsOffline},
}

// Play plays the acts until one fails, tells what happens while it happens, and reports whether everything promised was seen: in
// one system the gateway serves requests, in the other the functions alone do. If ctx ends it stops and returns the cause: what
// the act did not see then says nothing about the system.
func Play(ctx context.Context, gateway, functions System, printer *Printer) (ok bool, err error) {
	begun := time.Now()
	var played []*actLog
	for i, next := range acts {
		act := &act{system: &gateway, log: printer.begin(fmt.Sprintf("%d. %s", i+1, next.title))}
		if next.functions {
			act.system = &functions
		}
		played = append(played, act.log)
		err := act.perform(ctx, next.play)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err != nil {
			act.log.fail(err)
			break
		}
		act.log.ok = true
	}
	return printer.summary(played, len(acts), time.Since(begun)), nil
}

// act is what an act needs while it is played.
type act struct {
	system *System
	log    *actLog
}

func (a *act) perform(ctx context.Context, play func(context.Context, *act) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.system.Patience, fmt.Errorf("gave up after %v", a.system.Patience))
	defer cancel()
	return play(ctx, a)
}
