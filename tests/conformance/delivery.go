package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func requesterOnly(p *probe) {
	owner, requester, stranger := actors.NewKey(), actors.NewKey(), actors.NewKey()
	open := p.audience(owner, &requester, &stranger, &owner, nil)
	deliveries := p.deliveries(owner, 1)
	p.expect(relayapi.Delivered, requester.Pubkey, deliveries...)
	open[0].got("the requester", deliveries[0].Event)
	open[1].got("somebody else")
	open[2].got("the owner")
	open[3].got("a session that is not authenticated")
}

// once pushes the same delivery twice to two sessions.
func once(p *probe) {
	owner, requester := actors.NewKey(), actors.NewKey()
	open := p.audience(owner, &requester, &requester)
	for _, s := range open {
		s.ask("more", nostr.Filter{Authors: []string{owner.Pubkey}})
	}
	deliveries := p.deliveries(owner, 1)
	for _, p.trying = range []string{"first push", "second push"} {
		p.expect(relayapi.Delivered, requester.Pubkey, deliveries...)
	}
	for _, s := range open {
		s.got("a session of the requester", deliveries[0].Event)
	}
}

func verbatim(p *probe) {
	owner := actors.NewKey()
	event := p.keyPackage(owner)
	delivery := deliveryOf(event)
	delivery.Event = spread(event)
	p.pushTo(keyPackagesOf(owner), relayapi.Delivered, delivery)
}

// spread is the event in an unusual but valid spelling.
func spread(event *nostr.Event) string {
	tags := must(json.MarshalIndent(event.Tags, "  ", "\t"))
	return fmt.Sprintf("{ \"sig\":%q,\n\"kind\" : %d, \"created_at\":%d,\"pubkey\":%q,\t\"id\":%q,\"tags\":%s, \"content\":%q }",
		event.Sig, event.Kind, event.CreatedAt, event.PubKey, event.ID, tags, event.Content)
}

func limitIgnored(p *probe) {
	owner := actors.NewKey()
	filter := keyPackagesOf(owner)
	filter.Limit = 1
	p.pushTo(filter, relayapi.Delivered, p.deliveries(owner, 3)...)
}

func sinceAndUntil(p *probe) {
	owner := actors.NewKey()
	later, earlier := nostr.Now()+3600, nostr.Now()-3600
	since, until := keyPackagesOf(owner), keyPackagesOf(owner)
	since.Since, until.Until = &later, &earlier
	for _, filter := range []nostr.Filter{since, until} {
		p.trying = filter.String()
		p.pushTo(filter, relayapi.NoSubscription, p.deliveries(owner, 1)...)
	}
}

// noSession has the requester come after a push, which is then made again.
func noSession(p *probe) {
	owner, requester, stranger := actors.NewKey(), actors.NewKey(), actors.NewKey()
	p.audience(owner, &stranger, nil)
	deliveries := p.deliveries(owner, 1)
	p.expect(relayapi.NoSession, requester.Pubkey, deliveries...)
	p.listener(&requester, listening(owner))
	p.expect(relayapi.Delivered, requester.Pubkey, deliveries...)
}

// noSubscription has sessions with none, and with others.
func noSubscription(p *probe) {
	owner, requester := actors.NewKey(), actors.NewKey()
	s := p.join(requester)
	p.trying = "without subscriptions"
	p.expect(relayapi.NoSubscription, requester.Pubkey, p.deliveries(owner, 1)...)
	s.ask("other", keyPackagesOf(actors.NewKey()))
	s.ask("notes", nostr.Filter{Kinds: []int{nostr.KindTextNote}})
	p.trying = "with other subscriptions"
	p.expect(relayapi.NoSubscription, requester.Pubkey, p.deliveries(owner, 1)...)
	s.got("the requester")
}

func unknownEvent(p *probe) {
	owner := actors.NewKey()
	deliveries := p.deliveries(owner, 1)
	deliveries[0].Event = ""
	p.pushTo(keyPackagesOf(owner), relayapi.UnknownEvent, deliveries...)
}

func rejected(p *probe) {
	owner := actors.NewKey()
	other := p.keyPackage(owner)
	note := signed(owner, &nostr.Event{Kind: nostr.KindTextNote, CreatedAt: nostr.Now(), Content: "not a KeyPackage"})
	for what, change := range map[string]func(*relayapi.Delivery){
		"another id":         func(d *relayapi.Delivery) { d.KeyPackageEventID = randomID() },
		"another owner":      func(d *relayapi.Delivery) { d.OwnerPubkey = actors.NewKey().Pubkey },
		"a wrong signature":  func(d *relayapi.Delivery) { d.Event = strings.Replace(d.Event, other.Sig, note.Sig, 1) },
		"a wrong content":    func(d *relayapi.Delivery) { d.Event = strings.Replace(d.Event, other.Content, "AAAA", 1) },
		"no JSON":            func(d *relayapi.Delivery) { d.Event = "x" },
		"more than an event": func(d *relayapi.Delivery) { d.Event += `,"more"` },
		"another kind":       func(d *relayapi.Delivery) { *d = deliveryOf(note) },
	} {
		p.trying = what
		d := deliveryOf(other)
		change(&d)
		p.pushTo(nostr.Filter{Authors: []string{owner.Pubkey}}, relayapi.Rejected, d) // of any kind
	}
}

func expired(p *probe) {
	owner, requester := actors.NewKey(), actors.NewKey()
	s := p.listener(&requester, listening(owner))
	push := pushOf(requester.Pubkey, p.deliveries(owner, 1)...)
	push.ExpiresAt = time.Now().Add(-time.Minute).Unix()
	for _, status := range p.push(p.ctx, push) {
		if status != relayapi.NoSession && status != relayapi.NoSubscription {
			p.fail("the answer was %q, which does not say that nothing was written", status)
		}
	}
	s.got("the requester")
}

const (
	// answerWithin is what a relay may take for an answer.
	answerWithin = 5 * time.Second
	// bulk and bulkSize are more than a connection buffers whose client does not read, and less than the largest push.
	bulk     = 60
	bulkSize = 100 << 10
	// catchUp is how long a session may take to read the bulk.
	catchUp = 20 * time.Second
)

// stuckSession has a client that stops reading, and later reads all that was left for it.
func stuckSession(p *probe) {
	owner, requester := actors.NewKey(), actors.NewKey()
	s := p.listener(&requester, listening(owner))
	push := pushOf(requester.Pubkey)
	for range bulk {
		event := p.keyPackage(owner)
		event.Tags = append(event.Tags, nostr.Tag{"padding", strings.Repeat("A", bulkSize)})
		push.Deliveries = append(push.Deliveries, deliveryOf(signed(owner, event)))
	}
	began := time.Now()
	var sent atomic.Int64 // after began: the way of several megabytes to the relay is not the relay's time
	statuses := p.push(httptrace.WithClientTrace(p.ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { sent.Store(int64(time.Since(began))) },
	}), push)
	if took := time.Since(began) - time.Duration(sent.Load()); took > answerWithin+p.Slack {
		p.fail("the answer took %v", took.Round(100*time.Millisecond))
	}
	s.deniedNothing(push.Deliveries, statuses)
}

// deniedNothing fails if something arrives of which the relay has said that it was not written, or does not arrive of which
// it has said that it was. A relay may end a session that does not read; what was under way is lost then, and nothing shows.
func (s *session) deniedNothing(pushed []relayapi.Delivery, statuses map[string]relayapi.Status) {
	sent := 0
	for _, status := range statuses {
		if status == relayapi.Delivered {
			sent++
		}
	}
	switch err := s.collect(sent, catchUp+s.Slack); {
	case err == nil && len(s.events) < sent, errors.Is(err, context.DeadlineExceeded):
		s.fail("a session that did not read for a while received %d of %d deliveries", len(s.events), sent)
	case err != nil:
		s.skip("the relay ended the session, which had not read for a while: " + err.Error())
	}
	for _, d := range pushed {
		status, arrived := statuses[d.ID], slices.Contains(s.events, d.Event)
		if arrived && status != relayapi.Delivered && status != relayapi.Unknown || !arrived && status == relayapi.Delivered {
			s.fail("answered %q, and arrived: %v", status, arrived)
		}
	}
}
