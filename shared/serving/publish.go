package serving

import (
	"context"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// Publish implements gateway.Publisher.
func (s *Service) Publish(ctx context.Context, e gateway.Event, shared bool) (gateway.Answer, error) {
	answer, err := s.Publisher.KeyPackage(ctx, publishing.Event(e), shared)
	if err == nil && answer.Accepted {
		s.published(e)
	}
	return gateway.Answer(answer), err
}

// Delete implements gateway.Publisher.
func (s *Service) Delete(ctx context.Context, e gateway.Event) (gateway.Answer, error) {
	answer, err := s.Publisher.Delete(ctx, publishing.Event(e))
	return gateway.Answer(answer), err
}

// Own implements gateway.Stock.
func (s *Service) Own(ctx context.Context, owner string) ([]gateway.Event, error) {
	events, err := s.Publisher.Own(ctx, owner)
	return converted(events), err
}

// Addressable implements gateway.Stock.
func (s *Service) Addressable(ctx context.Context, owners []string) ([]gateway.Event, error) {
	events, err := s.Publisher.Addressable(ctx, owners)
	return converted(events), err
}

func converted(events []publishing.Event) []gateway.Event {
	all := make([]gateway.Event, len(events))
	for i, e := range events {
		all[i] = gateway.Event(e)
	}
	return all
}
