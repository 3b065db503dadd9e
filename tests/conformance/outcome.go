package main

import (
	"encoding/json"
	"reflect"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// announcement is what the NIP-11 document says.
func (p *probe) announcement() actors.Announcement {
	said, err := actors.ReadAnnouncement(p.ctx, p.Relay)
	p.must("the NIP-11 document", err)
	return said
}

// outcomeOnce pushes an outcome twice. Whichever comes first, that of the functions or ours, which is the same, is told.
func outcomeOnce(p *probe) {
	request, s := p.request()
	s.publish(request)
	push := pushOf(request.PubKey)
	push.RequestEventID = request.ID
	push.Outcome.Rows = []relayapi.OutcomeRow{{
		Owner: request.Tags.Find("p")[1], Requested: 1, Reason: string(keypackage.StatusNone), KeyPackages: []relayapi.Granted{},
	}}
	for range 2 {
		p.push(p.ctx, push)
	}
	said := p.announcement()
	event, err := keypackage.VerifyEvent(s.all("the requester", 1)[0])
	p.must("the notice", err)
	var content relayapi.Outcome
	p.must("the notice", json.Unmarshal([]byte(event.Content), &content))
	switch {
	case event.Kind != said.Outcome || !nostr.IsEphemeralKind(event.Kind):
		p.fail("the notice is of kind %d, which is not ephemeral or not what the NIP-11 document says", event.Kind)
	case event.PubKey != said.Pubkey:
		p.fail("the notice is not signed with the key of the NIP-11 document, so that no client believes it")
	case !reflect.DeepEqual(content, push.Outcome):
		p.fail("the notice says %+v instead of %+v", content, push.Outcome)
	case !event.Tags.ContainsAny("e", []string{request.ID}):
		p.fail("no e tag of the notice names the request")
	}
}

func outcomeOfForgery(p *probe) {
	request, s := p.request()
	forged := *request
	forged.Sig = randomID() + randomID()
	_ = s.submit("EVENT", &forged) // a relay refuses it, or stores it for others to judge
	s.got("the alleged requester")
}

// announced checks the document, and that nobody else can speak in the relay's name.
func announced(p *probe) {
	said := p.announcement()
	request, listener := p.request()
	stranger := actors.NewKey()
	s := p.join(stranger)
	for _, kind := range []int{said.Outcome, said.Notice} {
		forged := signed(stranger, &nostr.Event{
			Kind: kind, CreatedAt: nostr.Now(), Content: `{"rows":[]}`, Tags: nostr.Tags{{"e", request.ID}, {"p", request.PubKey}},
		})
		if !nostr.IsEphemeralKind(kind) || s.submit("EVENT", forged) == nil {
			p.fail("the kind %d of the NIP-11 document is not ephemeral, or a stranger's event of it was accepted", kind)
		}
	}
	listener.got("who was to be deceived")
}
