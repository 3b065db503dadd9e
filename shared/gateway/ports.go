package gateway

import (
	"context"

	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

type (
	// Event is a signed event with the bytes in which it was published.
	Event = publishing.Event
	// Answer is what an OK says.
	Answer = publishing.Answer
)

// What all ports have in common: every method may be called concurrently, and returns once what it stores is durable. An error
// means that nothing is known to have happened and that asking again may help; the client is told "error:" without its text.
// Contexts end some seconds after the call, never because the client has gone: what was begun is to be recorded. A call that
// panics ends its session.

// Publisher takes in what owners publish.
type Publisher interface {
	// Publish takes in a 443 or 30443 whose signature is good, if a claim could ever hand it out and the owner's stock has room
	// for it. With shared, anybody may have seen it: it counts as exposed.
	Publish(ctx context.Context, e Event, shared bool) (Answer, error)

	// Delete carries out a kind 5 for what the gateway keeps of its author, or may yet be sent. Only its first
	// bounds.MaxDeletionTags tags count. Naming nothing that is kept is no fault.
	Delete(ctx context.Context, e Event) (Answer, error)
}

// Stock reads what is stored. Both methods return valid events, newest first, of two as old the one with the lower id first.
type Stock interface {
	// Own returns the stored KeyPackages of kind 443 of one owner.
	Own(ctx context.Context, owner string) ([]Event, error)

	// Addressable returns the stored KeyPackages of kind 30443 of these owners. It is asked only where there is no upstream,
	// which otherwise serves them.
	Addressable(ctx context.Context, owners []string) ([]Event, error)
}

// Claim is a REQ that asks for KeyPackages: one of each owner.
type Claim struct {
	Requester string
	Owners    []string // at most keypackage.MaxOwners, each once, never the requester
	// Addressable says that the REQ also takes kind 30443: an owner who has one is left out, because that is the answer.
	Addressable bool
}

// Requests are requests for KeyPackages of others.
type Requests interface {
	// Take stores a 447 of an authenticated requester, whose signature is good. The gateway sends the OK and then calls serve, if
	// there is any, which claims, delivers by way of Gateway.Deliver, and returns when that is recorded: sessions do not end, and
	// the instance is not stopped, before. If the answer is negative, serve is nil.
	Take(ctx context.Context, e Event) (a Answer, serve func(context.Context), err error)

	// Claim serves a REQ by way of Gateway.Deliver and returns when all that it grants has been given there. The REQ's EOSE
	// waits for it, but not for long. If nothing is granted it returns nil, and an error says only that the claim has failed.
	Claim(ctx context.Context, c Claim) error

	// Granted returns what these 447s of the requester were granted and can still be sent to its sessions: clients may ask for
	// it by the request's id. Requests of others, and ids of something else, were granted nothing. There are at most
	// keypackage.MaxOwners of them.
	Granted(ctx context.Context, requester string, requests []string) ([]Event, error)

	// Attend is called when a session of the requester can receive what it could not before: what is pending is pushed. It is
	// called at most once a second for a requester.
	Attend(ctx context.Context, requester string) error
}

// Levels know the state of owners' stock.
type Levels interface {
	// Level returns the signed notice (kind 20448) that tells an owner the state of her stock, or nil if there is nothing to
	// tell: she never had any.
	Level(ctx context.Context, owner string) (*Event, error)
}

// Switch is the roll-out mode.
type Switch interface {
	// Serving reports whether KeyPackages are handed out (mode `deliver`). Otherwise 443 and 447 pass as if there were no
	// gateway, and are taken in besides. It does no I/O: it is asked for every frame.
	Serving() bool
}

// Ports are what the gateway needs from outside. All are required.
type Ports struct {
	Publisher
	Stock
	Requests
	Levels
	Switch
}
