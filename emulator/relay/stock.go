package relay

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// KindStock is the kind of the ephemeral event that tells an owner that its stock of a ciphersuite has reached a level. The
// relay signs it; the content is the notice as JSON (topic.Notice: ciphersuite, level, count of valid KeyPackages left, epoch),
// a `p` tag names the owner, who alone is sent it. Nobody asked for it, so there is no `e` tag.
const KindStock = 20448

const (
	// stockLife is how long the relay waits for an owner who is away. Phones are for days; after a week the numbers say
	// little.
	stockLife = 7 * 24 * time.Hour
	// stockMemory is how long a repeated notice is known. The subscription keeps messages for a week.
	stockMemory = 8 * 24 * time.Hour
)

// TellOwner tells an owner about its stock as soon as it has a subscription for that. A notice with the id of an earlier one
// is a repetition and is dropped. While the owner is away only the latest notice of a ciphersuite waits: its numbers are
// absolute.
func (r *Relay) TellOwner(n topic.Notice) {
	if err := r.notices.hearStock(n); err != nil {
		r.log.Warn("stock not told", "owner", n.OwnerPubkey, "error", err)
	}
}

func (ns *notices) hearStock(n topic.Notice) error {
	content, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode stock: %w", err)
	}
	return ns.take(&notice{
		id: "stock " + n.ID, recipient: n.OwnerPubkey, subject: "stock of " + n.Ciphersuite,
		kind: KindStock, tags: nostr.Tags{{"p", n.OwnerPubkey}}, content: string(content),
		expires: ns.now().Add(stockLife),
	}, stockMemory)
}
