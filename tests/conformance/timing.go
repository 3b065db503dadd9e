package main

import (
	"context"
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

func expired(ctx context.Context, p *probe) error {
	owner, requester := actors.NewKey(), actors.NewKey()
	s, err := p.listener(ctx, &requester, listening(owner))
	if err != nil {
		return err
	}
	deliveries := p.deliveries(owner, 1)
	push := pushOf(requester.Pubkey, deliveries...)
	push.ExpiresAt = time.Now().Add(-time.Minute).Unix()
	got, err := p.push(ctx, push)
	if err != nil {
		return err
	}
	if status := got[deliveries[0].ID]; status != relayapi.NoSession && status != relayapi.NoSubscription {
		err = fmt.Errorf("the answer was %q, which does not say that nothing was written", status)
	}
	return errors.Join(err, s.got(ctx, "the requester"))
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
func stuckSession(ctx context.Context, p *probe) error {
	owner, requester := actors.NewKey(), actors.NewKey()
	s, err := p.listener(ctx, &requester, listening(owner))
	if err != nil {
		return err
	}
	push := pushOf(requester.Pubkey)
	for range bulk {
		push.Deliveries = append(push.Deliveries, deliveryOf(p.largeKeyPackage(owner)))
	}
	statuses, took, err := p.timed(ctx, push)
	if err != nil {
		return err
	}
	if took > answerWithin+p.Slack {
		return fmt.Errorf("the answer took %v", took.Round(100*time.Millisecond))
	}
	return s.deniedNothing(ctx, push.Deliveries, statuses)
}

// timed pushes and returns also how long the answer took after the request had been sent: the way of several megabytes to
// the relay is not the relay's time.
func (p *probe) timed(ctx context.Context, push relayapi.DeliveryRequest) (map[string]relayapi.Status, time.Duration, error) {
	began := time.Now()
	var sent atomic.Int64 // after began
	statuses, err := p.push(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { sent.Store(int64(time.Since(began))) },
	}), push)
	return statuses, time.Since(began) - time.Duration(sent.Load()), err
}

func (p *probe) largeKeyPackage(owner actors.Key) *nostr.Event {
	event := p.keyPackage(owner)
	event.Tags = append(event.Tags, nostr.Tag{"padding", strings.Repeat("A", bulkSize)})
	return signed(owner, event)
}

// deniedNothing fails if something arrives of which the relay has said that it was not written, or does not arrive of which
// it has said that it was. A relay may end a session that does not read; what was under way is lost then, and nothing shows.
func (s *session) deniedNothing(ctx context.Context, pushed []relayapi.Delivery, statuses map[string]relayapi.Status) error {
	sent := 0
	for _, status := range statuses {
		if status == relayapi.Delivered {
			sent++
		}
	}
	err := s.await(ctx, sent, catchUp+s.probe.Slack)
	received := s.events
	if err == nil {
		received, err = s.all(ctx, sent)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("a session that did not read for a while received %d of %d deliveries: %w", len(received), sent, err)
	case err != nil:
		return notChecked("the relay ended the session, which had not read for a while: " + err.Error())
	}
	for _, d := range pushed {
		status, arrived := statuses[d.ID], slices.Contains(received, d.Event)
		if arrived && status != relayapi.Delivered && status != relayapi.Unknown || !arrived && status == relayapi.Delivered {
			return fmt.Errorf("answered %q, and arrived: %v", status, arrived)
		}
	}
	return nil
}
