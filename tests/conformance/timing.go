package main

import (
	"context"
	"errors"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

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
		s.end(notChecked("the relay ended the session, which had not read for a while: " + err.Error()))
	}
	for _, d := range pushed {
		status, arrived := statuses[d.ID], slices.Contains(s.events, d.Event)
		if arrived && status != relayapi.Delivered && status != relayapi.Unknown || !arrived && status == relayapi.Delivered {
			s.fail("answered %q, and arrived: %v", status, arrived)
		}
	}
}
