package serving

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// sessions are the sessions of this process, as whoever pushes sees them. What they say of a delivery is what its outbox says.
type sessions struct {
	*outcomes
	repeats bool // a session that has been sent a delivery is sent it again
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
		id := d.ID
		if s.repeats {
			id += " " + rand.Text()
		}
		begun[d.ID] = s.service.gateway.Deliver(gateway.DirectEvent{
			ID: id, Recipient: push.Requester, Requests: append([]string{push.RequestID}, d.RequestIDs...), Event: event, Expires: d.ExpiresAt,
		})
	}
	if len(push.Outcome) > 0 {
		s.add(push)
	}
	for id, wait := range begun {
		each[id] = keypackage.PushResult(wait(ctx))
	}
	return delivering.Results{Each: each}
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

// maxOutcomes bounds, in bytes, the outcomes that are remembered: some 20,000 of one owner, or 400 of the largest. What is
// beyond is not told.
const maxOutcomes = 32 << 20

// outcomes tells requesters how their requests ended (kind 20447), once, as soon as a session of theirs has a subscription for
// it. It is best effort: what waits is lost with the process.
type outcomes struct {
	service *Service
	mu      sync.Mutex
	waiting map[string][]*outcome // by requester
	round   int                   // of outcomes heard
	size    int                   // of those that are remembered, in bytes
}

type outcome struct {
	request string
	direct  gateway.DirectEvent // its event is signed only when somebody has subscribed to it
	result  func(context.Context) outbox.Status
}

// size is what is held in memory: the content twice, once in the signed event, and what every event has.
func (o *outcome) size() int { return 2*len(o.direct.Event.Content) + 1<<10 }

// add takes in the outcome that a push carries, unless that is known, and tells it if it can.
func (o *outcomes) add(push delivering.Push) {
	content, err := o.service.OutcomeContent(push.Outcome)
	if err != nil {
		o.service.Log.Error("an outcome is not told", "request_event_id", push.RequestID, "error", err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.waiting[push.Requester]
	i := slices.IndexFunc(of, func(known *outcome) bool { return known.request == push.RequestID })
	if i < 0 {
		if o.size >= maxOutcomes {
			return
		}
		i, of = len(of), append(of, o.newOutcome(push, content))
		o.waiting[push.Requester] = of
		o.size += of[i].size()
	}
	o.try(of[i])
}

func (o *outcomes) newOutcome(push delivering.Push, content string) *outcome {
	now := time.Now()
	tags := nostr.Tags{{"e", push.RequestID}, {"p", push.Requester}}
	o.round++
	return &outcome{request: push.RequestID, direct: gateway.DirectEvent{
		ID:        fmt.Sprintf("outcome %d of %s", o.round, push.RequestID),
		Recipient: push.Requester, Requests: []string{push.RequestID},
		Event: o.service.signer.unsigned(keypackage.KindOutcome, content, now, tags), Expires: now.Add(delivering.OutcomeAge),
	}}
}

// forget forgets outcomes: those that are told no more, and that of a request which its author has published again, so that it
// is told once more.
func (o *outcomes) forget(over func(*outcome) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for requester, of := range o.waiting {
		o.waiting[requester] = slices.DeleteFunc(of, func(known *outcome) bool {
			gone := over(known) // asked once: the time goes on
			if gone {
				o.size -= known.size()
			}
			return gone
		})
		if len(o.waiting[requester]) == 0 {
			delete(o.waiting, requester)
		}
	}
}

// tell tells the requester every outcome that it has not been told, and does not wait for its sessions.
func (o *outcomes) tell(requester string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range o.waiting[requester] {
		o.try(known)
	}
}

// try sends an outcome, if somebody has subscribed to it and it has not been sent. The caller holds the lock.
func (o *outcomes) try(known *outcome) {
	isTold := known.result != nil && known.result(ended) == outbox.Delivered
	if isTold || !o.service.gateway.Awaits(known.direct.Recipient, known.direct.Event) {
		return
	}
	if known.direct.Event.Raw == "" {
		event, err := o.service.signer.sign(known.direct.Event)
		if err != nil {
			o.service.Log.Error("an outcome is not told", "error", err)
			return
		}
		known.direct.Event = event
	}
	known.result = o.service.gateway.Deliver(known.direct)
}

// ended is a context for asking what has become of something: what still waits in a session's queue is taken out of it.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
