package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// pollInterval is that of the design which this system replaces.
const pollInterval = time.Second

// polling is that design: a trigger claims, and every second a processor reads all pending deliveries and sends them. It is
// given more than it has: the least of claims, and nobody looks up who is connected. For one request at a time, which then
// waits for the processor itself.
type polling struct{ *baseline }

// request implements design. It is made at a moment that has nothing to do with the last poll's: whoever asks as soon as one
// poll has answered always waits for the whole interval.
func (p polling) request(ctx context.Context, _ int) (journey, error) {
	time.Sleep(rand.N(pollInterval))
	id, sent, err := p.store(ctx, baselineRequests, keypackage.StatePending)
	for pushed := 0; err == nil && pushed == 0; {
		time.Sleep(time.Until(time.Now().Truncate(pollInterval).Add(pollInterval)))
		pushed, err = p.poll(ctx)
	}
	return p.await(ctx, id, sent, err)
}

// poll sends what is pending and returns how much that was.
func (p polling) poll(ctx context.Context) (int, error) {
	query := p.db.client.Collection(p.db.Collections.Deliveries).Where("state", "==", keypackage.StatePending)
	pending, err := query.Documents(ctx).GetAll()
	for _, snap := range pending {
		if err := p.send(ctx, snap.Ref.ID); err != nil {
			return 0, err
		}
	}
	return len(pending), err
}
