package serving

import (
	"context"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
)

// Publish implements gateway.Publisher.
func (s *Service) Publish(ctx context.Context, e gateway.Event, shared bool) (gateway.Answer, error) {
	answer, err := s.Publisher.KeyPackage(ctx, e, shared)
	if err == nil && answer.Accepted {
		s.published(e)
	}
	return answer, err
}

// Delete implements gateway.Publisher.
func (s *Service) Delete(ctx context.Context, e gateway.Event) (gateway.Answer, error) {
	return s.Publisher.Delete(ctx, e)
}
