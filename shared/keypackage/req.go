package keypackage

import "time"

// NewREQ returns the request that a REQ for stored KeyPackages is, of one requester for one owner: one package of any
// ciphersuite, for no group. There is no signed event and no document behind it, so the id is for the caller to choose, at
// random. addressable says that the REQ also takes kind 30443; otherwise it is never given one. The request is over when a
// delivery made now would be, after ttl.
func NewREQ(id, requester, owner string, addressable bool, ttl time.Duration, now time.Time) *Request {
	req := &Request{
		ID: id, Requester: requester, Owners: []string{owner}, Min: 1, AnySuite: true, REQ: true,
		CreatedAt: now, ValidUntil: now.Add(ttl), ReceivedAt: now,
	}
	req.Ask = askKey(req, "") // as a 447 that asks for nothing in particular
	req.PreferAddressable = addressable
	return req
}

// Takes reports whether the requester wants a package of that kind of event at all.
func (r *Request) Takes(kind int) bool { return !r.REQ || kind == KindKeyPackage }
