package simulation

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Pushed is a Topic of the Pub/Sub emulator that pushes its messages, as the cloud does: each stays with the emulator until
// the test has decided what the function answers, and comes again if that is no acknowledgement. The emulator has two
// pushes under way at a time, so not all messages are pending at once, and it brings what was given back after a second.
type Pushed struct {
	broker       *Broker
	subscription string
	publisher    *topic.Publisher
	endpoint     *httptest.Server

	mu          sync.Mutex
	outstanding int                 // published and not acknowledged
	held        map[string]heldPush // by AckID
	count       int
	changed     chan struct{} // closed and replaced at each arrival
}

// heldPush is a push that waits for its answer: true acknowledges.
type heldPush struct {
	message topic.Message
	answer  chan bool
}

// NewPushed makes a topic with a push subscription. The caller must call Close.
func (b *Broker) NewPushed(ctx context.Context) (*Pushed, error) {
	p := &Pushed{broker: b, held: make(map[string]heldPush), changed: make(chan struct{})}
	p.endpoint = httptest.NewServer(http.HandlerFunc(p.receive))
	var err error
	p.subscription, p.publisher, err = b.newTopic(ctx, &pubsubpb.PushConfig{PushEndpoint: p.endpoint.URL})
	return p, err
}

// receive holds a push until Settle or the emulator ends it.
func (p *Pushed) receive(w http.ResponseWriter, r *http.Request) {
	message, err := topic.Decode(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest) // it stays outstanding, so that the test notices
		return
	}
	answer := make(chan bool, 1)
	id := p.hold(heldPush{message, answer})
	acknowledged := false
	select {
	case acknowledged = <-answer:
	case <-r.Context().Done():
		p.mu.Lock()
		delete(p.held, id)
		p.mu.Unlock()
	}
	if !acknowledged {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (p *Pushed) hold(one heldPush) (id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	id = strconv.Itoa(p.count)
	p.held[id] = one
	close(p.changed)
	p.changed = make(chan struct{})
	return id
}

// Publish implements Topic.
func (p *Pushed) Publish(ctx context.Context, messages ...topic.Message) error {
	if err := p.publisher.Publish(ctx, messages...); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outstanding += len(messages)
	return nil
}

// Outstanding implements Topic.
func (p *Pushed) Outstanding() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outstanding
}

// Pending implements Topic. It waits until one message is there.
func (p *Pushed) Pending(ctx context.Context) ([]Envelope, error) {
	for {
		p.mu.Lock()
		var pending []Envelope
		for _, id := range slices.Sorted(maps.Keys(p.held)) {
			pending = append(pending, Envelope{p.held[id].message, id})
		}
		outstanding, changed := p.outstanding, p.changed
		p.mu.Unlock()
		if len(pending) > 0 || outstanding == 0 {
			return pending, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Settle implements Topic.
func (p *Pushed) Settle(_ context.Context, e Envelope, acknowledge bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.held[e.AckID]
	if !ok {
		return nil // settled by another invocation
	}
	delete(p.held, e.AckID)
	if acknowledge {
		p.outstanding--
	}
	one.answer <- acknowledge
	return nil
}

// Close ends the pushes.
func (p *Pushed) Close() error {
	err := p.broker.subscriptions.DeleteSubscription(context.Background(),
		&pubsubpb.DeleteSubscriptionRequest{Subscription: p.subscription})
	p.mu.Lock()
	for _, one := range p.held {
		one.answer <- false
	}
	clear(p.held)
	p.mu.Unlock()
	p.endpoint.Close()
	if err != nil {
		return fmt.Errorf("delete %s: %w", p.subscription, err)
	}
	return p.publisher.Close()
}
