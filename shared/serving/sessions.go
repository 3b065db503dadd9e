package serving

import (
	"context"
	"crypto/rand"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// sessions are the sessions of this process, as whoever pushes sees them. What they say of a delivery is what its outbox says.
type sessions struct {
	gateway  *gateway.Gateway
	outcomes *outcomes
	repeats  bool // a session that has been sent a delivery is sent it again
}

var _ delivering.Relay = (*sessions)(nil)

// Push implements delivering.Relay. Every delivery is begun before any is waited for, so that a slow session costs its time
// once. The outcome comes behind them: the packages are what the requester waits for.
func (s *sessions) Push(ctx context.Context, push delivering.Push) delivering.Results {
	each := make(map[string]keypackage.PushResult, len(push.Deliveries))
	begun := make(map[string]func(context.Context) outbox.Status, len(push.Deliveries))
	for _, d := range push.Deliveries {
		event, refused := verified(d)
		if refused != "" {
			each[d.ID] = refused
			continue
		}
		begun[d.ID] = s.gateway.Deliver(s.direct(push, d, event))
	}
	if len(push.Outcome) > 0 {
		s.outcomes.add(push)
	}
	for id, wait := range begun {
		each[id] = keypackage.PushResult(wait(ctx))
	}
	return delivering.Results{Each: each}
}

// direct is a delivery as the gateway sends it.
func (s *sessions) direct(push delivering.Push, d *keypackage.Delivery, event gateway.Event) gateway.DirectEvent {
	id := d.ID
	if s.repeats {
		id += " " + rand.Text()
	}
	return gateway.DirectEvent{
		ID: id, Recipient: push.Requester, Requests: append([]string{push.RequestID}, d.RequestIDs...), Event: event, Expires: d.ExpiresAt,
	}
}

// verified returns the event that a delivery brings, or why it brings none. What is written to a session is verified here,
// whoever has stored it or asks for it.
func verified(d *keypackage.Delivery) (gateway.Event, keypackage.PushResult) {
	raw := d.Event()
	if raw == "" {
		return gateway.Event{}, keypackage.ResultUnknownEvent // the gateway keeps no events but those in documents
	}
	event, err := keypackage.VerifyEvent(raw)
	isOurs := err == nil && (event.Kind == keypackage.KindKeyPackage || event.Kind == keypackage.KindAddressableKeyPackage)
	if !isOurs || event.ID != d.PackageID || event.PubKey != d.Owner {
		return gateway.Event{}, keypackage.ResultRejected
	}
	return gateway.Event{Event: event, Raw: raw}, ""
}
