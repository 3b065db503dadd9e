package relay

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	wire "github.com/keypackage-delivery/keypackage-delivery/shared/relay"
)

// KindOutcome is the kind of the ephemeral event that tells a requester how its request ended. The relay signs it; the
// content is {"rows": [...]} as in the delivery endpoint's outcome, an `e` tag names the request, and a `p` tag the
// requester, who alone is sent it.
const KindOutcome = 20447

const (
	// noticeLife is how long the relay tries to tell an outcome.
	noticeLife = 5 * time.Minute
	// noticeMemory is how long the outcome of one request is not told again. Deliveries of a request, and with them its
	// outcome, are pushed for an hour at most.
	noticeMemory = 2 * time.Hour
)

// notices tells requesters how their requests ended.
type notices struct {
	sessions  *sessions
	secretKey string // signs, hex
	now       func() time.Time

	mu    sync.Mutex
	heard recent[struct{}]   // request ids
	open  recent[[]*outcome] // by requester
}

type outcome struct {
	request, requester string
	rows               []wire.OutcomeRow
	expires            time.Time
}

// hear takes up an outcome and tells it as soon as the requester has a subscription for it. Of several outcomes of one
// request the first counts.
func (n *notices) hear(request, requester string, rows []wire.OutcomeRow) error {
	if !n.note(request, requester, rows) {
		return nil
	}
	return n.tell(requester)
}

// note reports whether the outcome is new.
func (n *notices) note(request, requester string, rows []wire.OutcomeRow) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.heard.get(request); known {
		return false
	}
	now := n.now()
	o := &outcome{request, requester, rows, now.Add(noticeLife)}
	waiting, _ := n.open.get(requester)
	n.heard.put(request, struct{}{}, now.Add(noticeMemory), now)
	n.open.put(requester, append(waiting, o), o.expires, now)
	return true
}

// tell tries to tell the requester everything that it has not been told, and does not wait for its sessions.
func (n *notices) tell(requester string) error {
	for _, o := range n.untold(requester) {
		p, err := n.parcel(o)
		if err != nil {
			return err
		}
		n.sessions.push(requester, p)
	}
	return nil
}

func (n *notices) untold(requester string) []*outcome {
	n.mu.Lock()
	defer n.mu.Unlock()
	waiting, ok := n.open.get(requester)
	if !ok {
		return nil
	}
	now := n.now()
	waiting = slices.DeleteFunc(slices.Clone(waiting), func(o *outcome) bool {
		return !now.Before(o.expires) || n.sessions.wasDelivered(o.parcelID())
	})
	n.open.put(requester, waiting, now.Add(noticeLife), now)
	return waiting
}

func (o *outcome) parcelID() string { return "outcome of " + o.request }

// parcel signs the notice anew for each attempt, because clients subscribe to what was created since a moment ago.
func (n *notices) parcel(o *outcome) (parcel, error) {
	content, err := json.Marshal(wire.Outcome{Rows: o.rows})
	if err != nil {
		return parcel{}, fmt.Errorf("encode outcome: %w", err)
	}
	event := &nostr.Event{
		Kind:      KindOutcome,
		CreatedAt: nostr.Timestamp(n.now().Unix()),
		Tags:      nostr.Tags{{"e", o.request}, {"p", o.requester}},
		Content:   string(content),
	}
	if err := event.Sign(n.secretKey); err != nil {
		return parcel{}, fmt.Errorf("sign outcome: %w", err)
	}
	return parcel{o.parcelID(), event, event.String(), o.request, o.expires}, nil
}
