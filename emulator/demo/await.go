package demo

import (
	"context"
	"fmt"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// awaitDeliveries waits until the request has n deliveries that are all as wanted.
func (s *System) awaitDeliveries(
	ctx context.Context, requestID string, n int, wanted func(keypackage.Delivery) bool,
) error {
	changes := s.Firestore.Collection(s.Deliveries).Where("request_event_id", "==", requestID).Snapshots(ctx)
	defer changes.Stop()
	for {
		snapshot, err := changes.Next()
		if err != nil {
			return fmt.Errorf("watch the deliveries of the request: %w", err)
		}
		documents, err := snapshot.Documents.GetAll()
		if err != nil {
			return fmt.Errorf("read the deliveries of the request: %w", err)
		}
		good := 0
		for _, document := range documents {
			var delivery keypackage.Delivery
			if err := document.DataTo(&delivery); err != nil {
				return fmt.Errorf("decode a delivery: %w", err)
			}
			if wanted(delivery) {
				good++
			}
		}
		if len(documents) == n && good == n {
			return nil
		}
	}
}

func delivered(d keypackage.Delivery) bool { return d.State == keypackage.StateDelivered }

// tried is a delivery that was offered to the relay in vain and may be offered again.
func tried(d keypackage.Delivery) bool { return d.State == keypackage.StatePending && d.Attempts > 0 }
