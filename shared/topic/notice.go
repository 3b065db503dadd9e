package topic

import (
	"context"
	"encoding/json"

	"cloud.google.com/go/pubsub/v2"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Notice is the data of a message on the notice topic, as JSON: an owner's stock of a ciphersuite has reached a level, which the
// relay tells the owner. It may be published more than once, each time with the same ID, which is also an attribute.
type Notice struct {
	ID          string `json:"id"` // owner, ciphersuite, level and epoch
	OwnerPubkey string `json:"owner_pubkey"`
	Ciphersuite string `json:"ciphersuite"` // 0x0001
	Level       string `json:"level"`       // low, last, reserve or empty
	Count       int    `json:"count"`       // valid KeyPackages left when the level was reached
	Epoch       int    `json:"epoch"`       // raised with every refill
	At          int64  `json:"at"`          // when the level was reached, Unix seconds
}

// PublishNotices implements expiring.Notices, for a notice topic. Errors are as for Publish.
func (p *Publisher) PublishNotices(ctx context.Context, notices []keypackage.Notice) error {
	messages := make([]*pubsub.Message, len(notices))
	for i, n := range notices {
		data, err := json.Marshal(Notice{
			ID: n.ID(), OwnerPubkey: n.Owner, Ciphersuite: n.Suite, Level: string(n.Level), Count: n.Count, Epoch: n.Epoch,
			At: n.At.Unix(),
		})
		if err != nil {
			return err
		}
		messages[i] = &pubsub.Message{Data: data, Attributes: map[string]string{"id": n.ID()}}
	}
	return p.publish(ctx, messages)
}
