package publishing

import (
	"context"
	"time"
)

// Request stores a 447 that was received at that time, whatever a claim will say of it. Publishing it again changes nothing.
func (p *Publisher) Request(ctx context.Context, e Event, received time.Time) (Answer, error) {
	added, err := p.store.AddRequest(ctx, e.ID, requestDocument(e, received))
	switch {
	case err != nil:
		return Answer{}, err
	case !added:
		return duplicate("already have this request"), nil
	}
	return accepted(), nil
}
