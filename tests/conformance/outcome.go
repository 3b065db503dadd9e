package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// outcomeOnce asks an owner who has no KeyPackage, so that nothing is used up where the functions run. Whichever outcome
// comes first, theirs or ours, is the one that is told.
func outcomeOnce(ctx context.Context, p *probe) error {
	request, s, err := p.asker(ctx)
	if err != nil {
		return err
	}
	if err := s.publish(ctx, request); err != nil {
		return err
	}
	for range 2 {
		if err := p.tellOutcome(ctx, request); err != nil {
			return err
		}
	}
	told, err := s.all(ctx, 1)
	if err != nil {
		return err
	}
	if len(told) != 1 {
		return fmt.Errorf("the requester was told %d times", len(told))
	}
	said, err := actors.ReadAnnouncement(ctx, p.Relay)
	if err != nil {
		return err
	}
	return isNotice(told[0], request, said)
}

// asker returns a signed request and a session of its author's that listens to whatever names the request.
func (p *probe) asker(ctx context.Context) (*nostr.Event, *session, error) {
	key := actors.NewKey()
	request := signed(key, actors.NewRequest(actors.Question{Owners: []string{actors.NewKey().Pubkey}, TTL: life}))
	s, err := p.listener(ctx, &key, nostr.Filter{Tags: nostr.TagMap{"e": {request.ID}}})
	return request, s, err
}

func (p *probe) tellOutcome(ctx context.Context, request *nostr.Event) error {
	push := pushOf(request.PubKey)
	push.RequestEventID = request.ID
	owner := request.Tags.Find("p")[1]
	push.Outcome.Rows = noneOf(owner)
	_, err := p.push(ctx, push)
	return err
}

func noneOf(owner string) []relayapi.OutcomeRow {
	return []relayapi.OutcomeRow{{
		Owner: owner, Requested: 1, Reason: string(keypackage.StatusNone), KeyPackages: []relayapi.Granted{},
	}}
}

func isNotice(raw string, request *nostr.Event, said actors.Announcement) error {
	event, err := keypackage.VerifyEvent(raw)
	switch {
	case err != nil:
		return fmt.Errorf("the notice: %w", err)
	case event.Kind != said.Outcome || !nostr.IsEphemeralKind(event.Kind):
		return fmt.Errorf("the notice is of kind %d, which is not ephemeral or not what the NIP-11 document says", event.Kind)
	case event.PubKey != said.Pubkey:
		return errors.New("the notice is not signed with the key of the NIP-11 document, so that no client believes it")
	}
	var content relayapi.Outcome
	if err := json.Unmarshal([]byte(event.Content), &content); err != nil {
		return fmt.Errorf("the notice: %w", err)
	}
	if want := noneOf(request.Tags.Find("p")[1]); !reflect.DeepEqual(content.Rows, want) {
		return fmt.Errorf("the notice says %+v instead of %+v", content.Rows, want)
	}
	for tag := range event.Tags.FindAll("e") {
		if tag[1] == request.ID {
			return nil
		}
	}
	return errors.New("no e tag of the notice names the request")
}

func outcomeOfForgery(ctx context.Context, p *probe) error {
	request, s, err := p.asker(ctx)
	if err != nil {
		return err
	}
	forged := *request
	forged.Sig = randomID() + randomID()
	_ = s.publish(ctx, &forged) // a relay refuses it, or stores it for others to judge
	return s.got(ctx, "the alleged requester")
}

// announced checks the document, and that nobody else can speak in the relay's name.
func announced(ctx context.Context, p *probe) error {
	said, err := actors.ReadAnnouncement(ctx, p.Relay)
	if err != nil {
		return err
	}
	request, listener, err := p.asker(ctx)
	if err != nil {
		return err
	}
	stranger := actors.NewKey()
	s, err := p.join(ctx, stranger)
	if err != nil {
		return err
	}
	for _, kind := range []int{said.Outcome, said.Notice} {
		forged := signed(stranger, &nostr.Event{
			Kind: kind, CreatedAt: nostr.Now(), Content: `{"rows":[]}`, Tags: nostr.Tags{{"e", request.ID}, {"p", request.PubKey}},
		})
		if !nostr.IsEphemeralKind(kind) || s.submit(ctx, "EVENT", forged) == nil {
			return fmt.Errorf("the kind %d of the NIP-11 document is not ephemeral, or a stranger's event of it was accepted", kind)
		}
	}
	return listener.got(ctx, "who was to be deceived")
}
