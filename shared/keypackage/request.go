package keypackage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Limits of a request.
const (
	MaxOwners     = 32
	MaxRequestTTL = 7 * 24 * time.Hour
	MaxClockAhead = 15 * time.Minute // how far in the future created_at may lie
)

// Rejection says why a request is not served at all. The values are recorded and used as metric labels.
type Rejection string

// The reasons of a rejection. The last three depend on time: they apply only to a request of which no answer is recorded yet.
const (
	RejectMalformedDocument Rejection = "malformed_document" // a field is missing or of the wrong type
	RejectTooLarge          Rejection = "too_large"
	RejectMalformedEvent    Rejection = "malformed_event"
	RejectWrongID           Rejection = "wrong_id" // the id is not the event's hash
	RejectBadSignature      Rejection = "bad_signature"
	RejectDocumentID        Rejection = "document_id_mismatch" // the document is not named after the event
	RejectWrongKind         Rejection = "wrong_kind"           // the document says 447, the signed event does not
	RejectNoOwner           Rejection = "no_owner"
	RejectMalformedOwner    Rejection = "malformed_owner"
	RejectTooManyOwners     Rejection = "too_many_owners"
	RejectSelf              Rejection = "self_request"
	RejectFuture            Rejection = "future"
	RejectExpired           Rejection = "expired" // created_at + ttl has passed
	RejectStale             Rejection = "stale"   // taken up too late: nobody is waiting any more
)

// Error makes a Rejection usable as an error.
func (r Rejection) Error() string { return "request rejected: " + string(r) }

// Authentic reports whether the requester really signed the request, and so may be told of the rejection.
func (r Rejection) Authentic() bool {
	return !slices.Contains([]Rejection{
		RejectMalformedDocument, RejectTooLarge, RejectMalformedEvent, RejectWrongID, RejectBadSignature, RejectDocumentID,
	}, r)
}

// RequestDocument is a document of the requests collection. Fields that were missing or of the wrong type are zero.
type RequestDocument struct {
	ID         string
	Event      string // the signed 447 as JSON
	Kind       int64  // HasKind tells whether the field was there
	HasKind    bool
	ReceivedAt time.Time // Firestore create time when the field is missing
	Marked     bool      // FieldOpen has an integer from 0 to Shards-1, FieldReceivedAt a timestamp: found if the trigger is lost
	Gateway    bool      // a gateway is serving it; see FieldGateway
	Version    time.Time // update time, if the document was read by the scheduled function
}

// Field names of a request document.
const (
	FieldKind       = "kind"
	FieldReceivedAt = "received_at"
	FieldOpen       = "open"       // the request has no outcome yet; see NewMark
	FieldKeepUntil  = "keep_until" // set when FieldOpen goes
	FieldGateway    = "gateway"    // true: whoever stored the document claims at once, and a trigger gives it the time to
)

// ReadRequestDocument reads a request document. created, when the document was, stands in for a missing time of receipt.
func ReadRequestDocument(id string, fields map[string]any, created time.Time) RequestDocument {
	doc := RequestDocument{ID: id, ReceivedAt: created}
	doc.Event, _ = fields[FieldEvent].(string)
	doc.Kind, doc.HasKind = fields[FieldKind].(int64)
	if at, ok := fields[FieldReceivedAt].(time.Time); ok {
		doc.ReceivedAt = at
		doc.Marked = marked(fields[FieldOpen])
	}
	doc.Gateway, _ = fields[FieldGateway].(bool)
	return doc
}

// Request is a valid kind-447 request, or a REQ that asks for the same.
type Request struct {
	ID        string
	Requester string
	Owners    []string // in the order of the p tags, without duplicates
	Min       int      // KeyPackages wanted per owner, at least 1
	Suite     mls.Ciphersuite
	AnySuite  bool   // no ciphersuite was asked for
	Ask       string // names what was asked (suite and group) for joining; a hash, since the group hint is opaque

	PreferAddressable bool // an addressable KeyPackage (kind 30443) is wanted first; otherwise one-time packages are
	REQ               bool // a REQ asks, not a 447: see NewREQ
	CreatedAt         time.Time
	ValidUntil        time.Time // created_at + ttl
	ReceivedAt        time.Time
}

// ErrOtherKind says that a document holds another kind of event, or has a name from which no answer's name can be made.
// It is ignored, not rejected, so that the trigger may sit on a general events collection.
var ErrOtherKind = errors.New("not a kind-447 document")

// maybeRequest reports whether the document does not say that it is another kind, and claims can be named after it.
func (doc RequestDocument) maybeRequest() bool {
	return (!doc.HasKind || doc.Kind == KindRequest) && IsName(doc.ID)
}

// ParseRequest checks what does not depend on the time of day. It returns ErrOtherKind, or a Rejection; with an authentic one the
// request is not nil and names at least its id, its requester and the well-formed owners. maxMin is the ceiling of `min`.
func ParseRequest(doc RequestDocument, maxMin int) (*Request, error) {
	if !doc.maybeRequest() {
		return nil, ErrOtherKind
	}
	event, err := VerifyEvent(doc.Event)
	if event != nil && !doc.HasKind && event.Kind != KindRequest {
		return nil, ErrOtherKind
	}
	if err != nil {
		return nil, rejectEvent(doc, err)
	}
	if event.ID != doc.ID {
		return nil, RejectDocumentID
	}
	req := readRequest(event, doc.ReceivedAt, maxMin)
	if event.Kind != KindRequest {
		return req, RejectWrongKind
	}
	if rejection := readOwners(req, event.Tags); rejection != "" {
		return req, rejection
	}
	return req, nil
}

func rejectEvent(doc RequestDocument, err error) Rejection {
	switch {
	case doc.Event == "":
		return RejectMalformedDocument
	case errors.Is(err, ErrEventTooLarge):
		return RejectTooLarge
	case errors.Is(err, ErrEventID):
		return RejectWrongID
	case errors.Is(err, ErrEventSignature):
		return RejectBadSignature
	}
	return RejectMalformedEvent
}

func readRequest(event *nostr.Event, receivedAt time.Time, maxMin int) *Request {
	created, suite := event.CreatedAt.Time(), tagValue(event, "cs")
	req := &Request{
		ID: event.ID, Requester: event.PubKey, ReceivedAt: receivedAt, CreatedAt: created,
		Min:               clamp(tagValue(event, "min"), 1, maxMin),
		ValidUntil:        created.Add(time.Duration(clamp(tagValue(event, "ttl"), maxTTL, maxTTL)) * time.Second),
		AnySuite:          suite == "",
		PreferAddressable: tagValue(event, "k") == strconv.Itoa(KindAddressableKeyPackage),
	}
	req.Suite, _ = mls.ParseCiphersuite(suite) // 0, which no package has, when the suite is unknown
	req.Ask = askKey(req, tagValue(event, "h"))
	return req
}

// maxTTL is MaxRequestTTL as a tag has it.
const maxTTL = int(MaxRequestTTL / time.Second)

// clamp reads a number from 1 to ceiling; what lies outside is the nearest of them, and what is no number the fallback.
func clamp(text string, fallback, ceiling int) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if errors.Is(err, strconv.ErrSyntax) {
		n = fallback
	}
	return max(1, min(n, ceiling)) // Atoi returns the nearest int for what is out of its range
}

// readOwners fills in the owners and reports the first reason to reject them. One bad owner rejects the whole request.
func readOwners(req *Request, tags nostr.Tags) Rejection {
	var rejection Rejection
	for _, tag := range tags {
		if len(tag) == 0 || tag[0] != "p" {
			continue
		}
		switch {
		case len(tag) < 2 || !IsPubkey(tag[1]):
			rejection = RejectMalformedOwner
		case slices.Contains(req.Owners, tag[1]):
		case len(req.Owners) == MaxOwners:
			return RejectTooManyOwners
		default:
			req.Owners = append(req.Owners, tag[1])
		}
	}
	switch {
	case rejection != "":
		return rejection
	case len(req.Owners) == 0:
		return RejectNoOwner
	case slices.Contains(req.Owners, req.Requester):
		return RejectSelf
	}
	return ""
}

// Untimely returns why a request without a recorded answer is not served at this time, or "". maxAge counts from its receipt.
func (r *Request) Untimely(now time.Time, maxAge time.Duration) Rejection {
	switch {
	case r.CreatedAt.After(now.Add(MaxClockAhead)):
		return RejectFuture
	case !r.ValidUntil.After(now):
		return RejectExpired
	case now.Sub(r.ReceivedAt) > maxAge:
		return RejectStale
	}
	return ""
}

// Matches reports whether a package of that ciphersuite answers the request. The number decides, not its spelling.
func (r *Request) Matches(suite mls.Ciphersuite) bool {
	return r.AnySuite || (r.Suite != 0 && r.Suite == suite)
}

// askKey tells the wish for any ciphersuite from that for an unknown one, which nothing answers, and the kinds of event wanted.
func askKey(req *Request, group string) string {
	suite := "any"
	if !req.AnySuite {
		suite = fmt.Sprintf("%04x", uint16(req.Suite))
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%t|%s", suite, req.PreferAddressable, group))
	return hex.EncodeToString(sum[:16])
}

// NewREQ returns the request that a REQ for stored KeyPackages is, of one requester for one owner: one package of any
// ciphersuite, for no group, until ttl from now. No event or document is behind it: the caller chooses the id, at random.
// addressable says that the REQ also takes kind 30443; otherwise it is never given one.
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

// KeepUntil returns until when a document is kept that lost its mark without an answer: as long as an answer could be.
func (doc RequestDocument) KeepUntil() time.Time {
	return KeepAnswerUntil(doc.ReceivedAt.Add(MaxRequestTTL))
}

// Unverified returns, without verifying anything, whether the document is a request at all, and the ids of the claims that
// answer it once all its owners are answered. It is for finding documents without an answer among many that have one.
func (doc RequestDocument) Unverified() (units []string, isRequest bool) {
	if !doc.maybeRequest() {
		return nil, false
	}
	event, err := ParseEvent([]byte(doc.Event))
	if err != nil {
		return nil, true
	}
	if !doc.HasKind && event.Kind != KindRequest {
		return nil, false
	}
	var req Request
	if readOwners(&req, event.Tags) == "" {
		for _, owner := range req.Owners {
			units = append(units, ClaimID(doc.ID, owner))
		}
	}
	return units, true
}
