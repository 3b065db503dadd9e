package delivering

import (
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// batchBytes bounds one push, so that its results come within the lease. Events are counted as they are stored; the relay
// says if a push is too large for it as it is sent, and then it is split.
const batchBytes = 4 << 20

func batches(ready []*keypackage.Delivery) [][]*keypackage.Delivery {
	var all [][]*keypackage.Delivery
	size := 0
	for _, d := range ready {
		last := len(all) - 1
		if last < 0 || size+len(d.Event()) > batchBytes {
			all, size, last = append(all, nil), 0, last+1
		}
		all[last] = append(all[last], d)
		size += len(d.Event())
	}
	return all
}

func earliestEnd(batch []*keypackage.Delivery) time.Time {
	return slices.MinFunc(batch, func(a, b *keypackage.Delivery) int { return a.ExpiresAt.Compare(b.ExpiresAt) }).ExpiresAt
}
