package keypackage

import "strings"

// Announcement says that a request was answered. It names the documents that hold the answer, so that whoever delivers can
// read them by id in one round trip instead of searching for them. The names are hints: the store decides what there is,
// and what is not named is searched for.
type Announcement struct {
	RequestID string
	Owners    []string // whose records there are
	Packages  []string // for which the request created deliveries
}

// mostAnnounced bounds the names: a message should stay far below 64 KiB. Hardly any request is granted more.
const mostAnnounced = 100

// NewAnnouncement returns the announcement of a request with these records; there must be one.
func NewAnnouncement(records []Claim) Announcement {
	a := Announcement{RequestID: records[0].RequestID}
	for _, r := range records {
		if r.Owner == "" {
			continue
		}
		a.Owners = append(a.Owners, r.Owner)
		for _, id := range r.DeliveryIDs {
			if strings.HasPrefix(id, DeliveryID(a.RequestID, "")) { // it joined the others
				a.Packages = append(a.Packages, PackageOf(id))
			}
		}
	}
	if len(a.Packages) > mostAnnounced {
		a.Packages = nil
	}
	return a
}
