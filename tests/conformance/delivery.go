package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// deliveryRules are about the endpoint, and about what it does to sessions.
var deliveryRules = []rule{
	{"token", "the endpoint answers 401 to a token that is missing or wrong", func(p *probe) {
		tokens := map[string]string{
			"a push without a token":                       "",
			"a push with a token that is none":             "x.y.z",
			"a push with a token whose signature is wrong": p.Token[:max(0, strings.LastIndex(p.Token, "."))+1] + strings.Repeat("A", 342),
		}
		if p.OtherAudience != "" {
			tokens["a push with a token for another audience"] = p.OtherAudience
		}
		for what, token := range tokens {
			p.answers(what, http.MethodPost, token, encode(p.pushOf()), http.StatusUnauthorized)
		}
	}},
	{"caller", "the endpoint answers 403 to a good token of somebody else", func(p *probe) {
		if p.OtherCaller == "" {
			p.skip("a good token of another account is needed")
		}
		p.answers("a push by another account", http.MethodPost, p.OtherCaller, encode(p.pushOf()), http.StatusForbidden)
	}},
	{"method", "the endpoint answers 405 to other methods than POST", func(p *probe) {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			p.answers(method, method, p.Token, nil, http.StatusMethodNotAllowed)
		}
	}},
	{"malformed", "the endpoint answers 400 to what is not a DeliveryRequest", func(p *probe) {
		good := string(encode(p.pushOf()))
		for what, body := range map[string]string{
			"no JSON":                             "x",
			"an empty body":                       "",
			"{}":                                  "{}",
			"a push whose deliveries are missing": strings.Replace(good, `"deliveries"`, `"others"`, 1),
			"a push whose requester is no key":    strings.Replace(good, p.requester.Pubkey, "alice", 1),
		} {
			p.answers(what, http.MethodPost, p.Token, []byte(body), http.StatusBadRequest)
		}
	}},
	{"size", "the endpoint takes 8 MiB, and answers 200 or 413 to more", func(p *probe) {
		body := encode(p.pushOf())
		body = append(body, bytes.Repeat([]byte(" "), relayapi.MaxRequestBytes-len(body))...)
		code := http.StatusRequestTimeout // the body was under way for too long, which says nothing about its size
		for try := 0; try < 3 && code == http.StatusRequestTimeout; try++ {
			code, _ = p.call(p.ctx, http.MethodPost, p.Token, body)
		}
		if code != http.StatusOK {
			p.fail("a push of 8 MiB was answered %d", code)
		}
		p.answers("a push of more than 8 MiB", http.MethodPost, p.Token, append(body, ' '),
			http.StatusOK, http.StatusRequestEntityTooLarge, http.StatusRequestTimeout)
	}},
	{"direct-answer", "a push is answered 200, without a redirect, with one result for each delivery", func(p *probe) {
		p.push(p.ctx, p.pushOf())
		p.push(p.ctx, p.pushOf(p.deliveries(3)...))
	}},
	{"requester-only", "a delivery is sent to sessions authenticated as the requester, and to nobody else", func(p *probe) {
		open, deliveries := p.audience(p.requester, p.stranger, p.owner), p.deliveries(1)
		p.expect(relayapi.Delivered, deliveries...)
		open[0].got(deliveries...)
		for _, s := range open[1:] {
			s.got()
		}
	}},
	{"once", "a session is sent a delivery once, also on two matching subscriptions and when it is pushed again", func(p *probe) {
		open, deliveries := p.audience(p.requester, p.requester)[:2], p.deliveries(1)
		for _, s := range open {
			s.ask("more", nostr.Filter{Authors: []string{p.owner.Pubkey}})
		}
		for _, p.trying = range []string{"first push", "second push"} {
			p.expect(relayapi.Delivered, deliveries...)
		}
		for _, s := range open {
			s.got(deliveries...)
		}
	}},
	{"verbatim", "the event string is the third element of the frame, byte for byte", func(p *probe) {
		event := p.keyPackage(p.owner)
		delivery := deliveryOf(event) // in an unusual but valid spelling
		delivery.Event = fmt.Sprintf("{ \"sig\":%q,\n\"kind\" : %d, \"created_at\":%d,\"pubkey\":%q,\t\"id\":%q,\"tags\":%s, \"content\":%q }",
			event.Sig, event.Kind, event.CreatedAt, event.PubKey, event.ID, must(json.MarshalIndent(event.Tags, "  ", "\t")), event.Content)
		p.pushTo(keyPackagesOf(p.owner), relayapi.Delivered, delivery)
	}},
	{"limit", "the limit of a filter is ignored", func(p *probe) {
		p.pushTo(nostr.Filter{Kinds: keyPackageKind, Authors: []string{p.owner.Pubkey}, Limit: 1}, relayapi.Delivered, p.deliveries(3)...)
	}},
	{"since-until", "since and until of a filter are respected", func(p *probe) {
		since, until := keyPackagesOf(p.owner), keyPackagesOf(p.owner)
		since.Since, until.Until = new(nostr.Now()+3600), new(nostr.Now()-3600)
		for _, filter := range []nostr.Filter{since, until} {
			p.trying = filter.String()
			p.pushTo(filter, relayapi.NoSubscription, p.deliveries(1)...)
		}
	}},
	{"no-session", "no_session is the answer when nobody is authenticated as the requester, and the next push may be delivered",
		func(p *probe) {
			p.audience(p.stranger)
			deliveries := p.deliveries(1)
			p.expect(relayapi.NoSession, deliveries...)
			p.visit(p.requester).subscribed(listening(p.owner))
			p.expect(relayapi.Delivered, deliveries...)
		}},
	{"no-subscription", "no_subscription is the answer when no open subscription matches", func(p *probe) {
		s := p.visit(p.requester)
		p.trying = "without subscriptions"
		p.expect(relayapi.NoSubscription, p.deliveries(1)...)
		s.ask("other", keyPackagesOf(p.stranger))
		s.ask("notes", nostr.Filter{Kinds: []int{nostr.KindTextNote}})
		p.trying = "with other subscriptions"
		p.expect(relayapi.NoSubscription, p.deliveries(1)...)
		s.got()
	}},
	{"unknown-event", "unknown_event is the answer when neither the push nor the relay has the event", func(p *probe) {
		delivery := deliveryOf(p.keyPackage(p.owner))
		delivery.Event = ""
		p.pushTo(keyPackagesOf(p.owner), relayapi.UnknownEvent, delivery)
	}},
	{"rejected", "rejected is the answer to an event that does not verify, or is not the one named", func(p *probe) {
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
	}},
	{"expired", "a delivery that is not begun at expires_at is dropped", func(p *probe) {
		s := p.visit(p.requester).subscribed(listening(p.owner))
		push := p.pushOf(p.deliveries(1)...)
		push.ExpiresAt = time.Now().Add(-time.Minute).Unix()
		for _, status := range p.push(p.ctx, push) {
			if status != relayapi.NoSession && status != relayapi.NoSubscription {
				p.fail("the answer was %q, which does not say that nothing was written", status)
			}
		}
		s.got()
	}},
	{"five-seconds", "a push is answered within 5 s while a session does not read, and what is denied then never arrives", stuckSession},
}

const (
	answerWithin = 5 * time.Second  // what a relay may take
	bulk         = 60               // deliveries, together more than a connection buffers whose client does not read,
	bulkSize     = 100 << 10        // and less than the largest push
	catchUp      = 20 * time.Second // what a session may take to read them
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
