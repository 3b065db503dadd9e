package keypackage

import "strings"

// Announcement says that a request was answered. It names the documents that hold the answer, so that whoever delivers reads
// them by id in one round trip. The names are hints: the store decides what there is, and what is not named is searched for.
type Announcement struct {
	RequestID string
	// Granted holds, by owner whose claim there is, the packages for which the request created deliveries.
	Granted map[string][]string
}

// mostAnnounced bounds the names: what they name is read at once, up to 1 MiB each. Hardly any request is granted more.
const mostAnnounced = 32

// NewAnnouncement returns the announcement of a request with this answer; it must not be empty.
func NewAnnouncement(answer Answer) Announcement {
	a := Announcement{RequestID: answer.RequestID(), Granted: make(map[string][]string)}
	named := 0
	for _, c := range answer.Claims {
		a.Granted[c.Owner] = nil
		for _, id := range c.DeliveryIDs {
			if strings.HasPrefix(id, DeliveryID(a.RequestID, "")) && named < mostAnnounced { // not joined
				a.Granted[c.Owner] = append(a.Granted[c.Owner], PackageOf(id))
				named++
			}
		}
	}
	return a
}

// Deliveries names the deliveries that the request created.
func (a Announcement) Deliveries() []DeliveryRef {
	var refs []DeliveryRef
	for owner, packages := range a.Granted {
		for _, id := range packages {
			refs = append(refs, DeliveryRef{ID: DeliveryID(a.RequestID, id), Owner: owner})
		}
	}
	return refs
}
