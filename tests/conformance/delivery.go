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

// pushTo pushes to a new session of the requester, subscribed with the filter. It fails unless each delivery is answered with the
// status, and all of them arrive if that is `delivered`, and none if not.
func (p *probe) pushTo(filter nostr.Filter, status relayapi.Status, deliveries ...relayapi.Delivery) {
	s := p.visit(p.requester).subscribed(filter)
	p.expect(status, deliveries...)
	var want []string
	if status == relayapi.Delivered {
		want = eventsOf(deliveries)
	}
	s.got(want...)
}

func eventsOf(deliveries []relayapi.Delivery) (events []string) {
	for _, d := range deliveries {
		events = append(events, d.Event)
	}
	return events
}

func requesterOnly(p *probe) {
	open := p.audience(p.requester, p.stranger, p.owner)
	deliveries := p.deliveries(1)
	p.expect(relayapi.Delivered, deliveries...)
	open[0].got(deliveries[0].Event)
	for _, s := range open[1:] {
		s.got()
	}
}

// once pushes the same delivery twice to two sessions.
func once(p *probe) {
	open := p.audience(p.requester, p.requester)[:2]
	for _, s := range open {
		s.ask("more", nostr.Filter{Authors: []string{p.owner.Pubkey}})
	}
	deliveries := p.deliveries(1)
	for _, p.trying = range []string{"first push", "second push"} {
		p.expect(relayapi.Delivered, deliveries...)
	}
	for _, s := range open {
		s.got(deliveries[0].Event)
	}
}

// verbatim pushes an event in an unusual but valid spelling.
func verbatim(p *probe) {
	event := p.keyPackage(p.owner)
	delivery := deliveryOf(event)
	tags := must(json.MarshalIndent(event.Tags, "  ", "\t"))
	delivery.Event = fmt.Sprintf("{ \"sig\":%q,\n\"kind\" : %d, \"created_at\":%d,\"pubkey\":%q,\t\"id\":%q,\"tags\":%s, \"content\":%q }",
		event.Sig, event.Kind, event.CreatedAt, event.PubKey, event.ID, tags, event.Content)
	p.pushTo(keyPackagesOf(p.owner), relayapi.Delivered, delivery)
}

func limitIgnored(p *probe) {
	filter := keyPackagesOf(p.owner)
	filter.Limit = 1
	p.pushTo(filter, relayapi.Delivered, p.deliveries(3)...)
}

func sinceAndUntil(p *probe) {
	later, earlier := nostr.Now()+3600, nostr.Now()-3600
	since, until := keyPackagesOf(p.owner), keyPackagesOf(p.owner)
	since.Since, until.Until = &later, &earlier
	for _, filter := range []nostr.Filter{since, until} {
		p.trying = filter.String()
		p.pushTo(filter, relayapi.NoSubscription, p.deliveries(1)...)
	}
}

// noSession has the requester come after a push, which is then made again.
func noSession(p *probe) {
	p.audience(p.stranger)
	deliveries := p.deliveries(1)
	p.expect(relayapi.NoSession, deliveries...)
	p.visit(p.requester).subscribed(listening(p.owner))
	p.expect(relayapi.Delivered, deliveries...)
}

// noSubscription has sessions with none, and with others.
func noSubscription(p *probe) {
	s := p.visit(p.requester)
	p.trying = "without subscriptions"
	p.expect(relayapi.NoSubscription, p.deliveries(1)...)
	s.ask("other", keyPackagesOf(p.stranger))
	s.ask("notes", nostr.Filter{Kinds: []int{nostr.KindTextNote}})
	p.trying = "with other subscriptions"
	p.expect(relayapi.NoSubscription, p.deliveries(1)...)
	s.got()
}

func unknownEvent(p *probe) {
	deliveries := p.deliveries(1)
	deliveries[0].Event = ""
	p.pushTo(keyPackagesOf(p.owner), relayapi.UnknownEvent, deliveries...)
}

func rejected(p *probe) {
	event := p.keyPackage(p.owner)
	note := signed(p.owner, &nostr.Event{Kind: nostr.KindTextNote, CreatedAt: nostr.Now(), Content: "not a KeyPackage"})
	for what, change := range map[string]func(*relayapi.Delivery){
		"another id":         func(d *relayapi.Delivery) { d.KeyPackageEventID = randomID() },
		"another owner":      func(d *relayapi.Delivery) { d.OwnerPubkey = p.stranger.Pubkey },
		"a wrong signature":  func(d *relayapi.Delivery) { d.Event = strings.Replace(d.Event, event.Sig, note.Sig, 1) },
		"a wrong content":    func(d *relayapi.Delivery) { d.Event = strings.Replace(d.Event, event.Content, "AAAA", 1) },
		"no JSON":            func(d *relayapi.Delivery) { d.Event = "x" },
		"more than an event": func(d *relayapi.Delivery) { d.Event += `,"more"` },
		"another kind":       func(d *relayapi.Delivery) { *d = deliveryOf(note) },
	} {
		p.trying, p.requester = what, actors.NewKey() // nothing of one push shows in the next
		d := deliveryOf(event)
		change(&d)
		p.pushTo(nostr.Filter{Authors: []string{p.owner.Pubkey}}, relayapi.Rejected, d) // of any kind
	}
}

func expired(p *probe) {
	s := p.visit(p.requester).subscribed(listening(p.owner))
	push := p.pushOf(p.deliveries(1)...)
	push.ExpiresAt = time.Now().Add(-time.Minute).Unix()
	for _, status := range p.push(p.ctx, push) {
		if status != relayapi.NoSession && status != relayapi.NoSubscription {
			p.fail("the answer was %q, which does not say that nothing was written", status)
		}
	}
	s.got()
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
	s := p.visit(p.requester).subscribed(listening(p.owner))
	push := p.pushOf()
	for range bulk {
		event := p.keyPackage(p.owner)
		event.Tags = append(event.Tags, nostr.Tag{"padding", strings.Repeat("A", bulkSize)})
		push.Deliveries = append(push.Deliveries, deliveryOf(signed(p.owner, event)))
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
