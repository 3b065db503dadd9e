package serving

import (
	"context"
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// Attend implements gateway.Requests.
func (s *Service) Attend(ctx context.Context, requester string) error {
	s.outcomes.tell(requester)
	if !s.here() {
		return s.Nudge(ctx, requester)
	}
	_, err := s.push.ForRequester(ctx, requester)
	return err
}

// maxGranted bounds what is read for one REQ: a request for 32 owners is granted some hundred packages at most.
const maxGranted = 320

// Granted implements gateway.Requests, with what may be sent to the requester again.
func (s *Service) Granted(ctx context.Context, requester string, requests []string) ([]gateway.Event, error) {
	var refs []keypackage.DeliveryRef
	for _, id := range requests {
		if !keypackage.IsEventID(id) {
			continue
		}
		answer, err := s.Store.Answer(ctx, id)
		if err != nil {
			return nil, err
		}
		if answer.Requester() == requester && answer.Authentic() {
			refs = append(refs, answer.Deliveries()...)
		}
	}
	found, err := s.Store.Deliveries(ctx, refs[:min(len(refs), maxGranted)])
	if err != nil {
		return nil, err
	}
	var events []gateway.Event
	for i := range found {
		event, refused := verified(&found[i].Delivery)
		if refused == "" && !found[i].Tombstoned && found[i].Repeatable(s.now()) {
			events = append(events, event)
		}
	}
	slices.SortFunc(events, publishing.NewestFirst)
	return events, nil
}

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
