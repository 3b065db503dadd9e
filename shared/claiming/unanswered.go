package claiming

import (
	"context"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Unanswered returns those of the documents that are requests and have no answer, or not for all their owners. It reads
// the claims only: copies of the outcome on the documents are not relied on.
func (c *Claimer) Unanswered(
	ctx context.Context, docs []keypackage.RequestDocument,
) ([]keypackage.RequestDocument, error) {
	units := make([][]string, len(docs))
	var requests []int
	var ids []string
	for i, doc := range docs {
		var isRequest bool
		if units[i], isRequest = doc.Unverified(); isRequest {
			requests = append(requests, i)
			ids = append(append(ids, keypackage.ClaimID(doc.ID, "")), units[i]...)
		}
	}
	claims, err := c.store.Claims(ctx, ids)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(claims))
	for i := range claims {
		known[claims[i].ID()] = true
	}
	var open []keypackage.RequestDocument
	for _, i := range requests {
		if !known[keypackage.ClaimID(docs[i].ID, "")] && !allKnown(known, units[i]) {
			open = append(open, docs[i])
		}
	}
	return open, nil
}

func allKnown(known map[string]bool, ids []string) bool {
	for _, id := range ids {
		if !known[id] {
			return false
		}
	}
	return len(ids) > 0
}
