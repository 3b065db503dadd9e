package system

import (
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// stored is a request as it stands in Firestore; tests spoil it. The relay would refuse some of these, so they are written
// directly.
type stored struct {
	id     string
	event  *nostr.Event
	fields fields
}

// rejection is a way to spoil a request, and the reason that its dismissal has to give.
type rejection struct {
	spoil  func(*nostr.Event) // before it is signed; may be nil
	forge  func(*stored)      // afterwards; may be nil
	reason keypackage.Rejection
}

// rejections returns all of them. Owner is somebody with stock.
func rejections(requester, owner actors.Key) map[string]rejection {
	asking := func(owners ...string) func(*nostr.Event) {
		return func(event *nostr.Event) {
			event.Tags = nil
			for _, owner := range owners {
				event.Tags = append(event.Tags, nostr.Tag{"p", owner})
			}
		}
	}
	forty := []string{owner.Pubkey}
	for range 39 {
		forty = append(forty, actors.NewKey().Pubkey)
	}
	dated := func(age time.Duration, tags ...nostr.Tag) func(*nostr.Event) {
		return func(event *nostr.Event) {
			event.CreatedAt = nostr.Timestamp(time.Now().Add(-age).Unix())
			event.Tags = append(event.Tags, tags...)
		}
	}
	field := func(name string, value any) func(*stored) { return func(d *stored) { d.fields[name] = value } }
	without := func(name string) func(*stored) { return func(d *stored) { delete(d.fields, name) } }
	return map[string]rejection{
		"no p":                 {asking(), nil, keypackage.RejectNoOwner},
		"63 characters":        {asking(owner.Pubkey[:63]), nil, keypackage.RejectMalformedOwner},
		"upper case":           {asking(strings.ToUpper(owner.Pubkey)), nil, keypackage.RejectMalformedOwner},
		"one of two malformed": {asking(owner.Pubkey, "x"), nil, keypackage.RejectMalformedOwner},
		"empty p":              {func(event *nostr.Event) { event.Tags = append(event.Tags, nostr.Tag{"p"}) }, nil, keypackage.RejectMalformedOwner},
		"forty owners":         {asking(forty...), nil, keypackage.RejectTooManyOwners},
		"owner is requester":   {asking(owner.Pubkey, requester.Pubkey), nil, keypackage.RejectSelf},
		"expired":              {dated(2*time.Minute, nostr.Tag{"ttl", "60"}), nil, keypackage.RejectExpired},
		"a week old":           {dated(8 * 24 * time.Hour), nil, keypackage.RejectExpired},
		"future":               {dated(-20 * time.Minute), nil, keypackage.RejectFuture},
		"stale":                {dated(16 * time.Minute), field(keypackage.FieldReceivedAt, time.Now().Add(-16*time.Minute)), keypackage.RejectStale},
		"another kind inside":  {func(event *nostr.Event) { event.Kind = 1 }, field(keypackage.FieldKind, 447), keypackage.RejectWrongKind},

		"signature of another event": {nil, func(d *stored) {
			other := *d.event
			other.Content = "another"
			_ = requester.Sign(&other)
			d.event.Sig = other.Sig
			d.fields[keypackage.FieldEvent] = d.event.String()
		}, keypackage.RejectBadSignature},
		"changed after signing": {nil, func(d *stored) {
			d.event.Tags = append(d.event.Tags, nostr.Tag{"min", "10"})
			d.fields[keypackage.FieldEvent] = d.event.String()
		}, keypackage.RejectWrongID},
		"id of something else": {nil, func(d *stored) {
			d.id, d.event.ID = requester.Pubkey, requester.Pubkey
			d.fields[keypackage.FieldEvent] = d.event.String()
		}, keypackage.RejectWrongID},
		"under another id":      {nil, func(d *stored) { d.id = "of-" + requester.Pubkey }, keypackage.RejectDocumentID},
		"no event":              {nil, without(keypackage.FieldEvent), keypackage.RejectMalformedDocument},
		"no field at all":       {nil, func(d *stored) { d.fields = fields{} }, keypackage.RejectMalformedDocument},
		"event is a number":     {nil, field(keypackage.FieldEvent, 7), keypackage.RejectMalformedDocument},
		"event is a map":        {nil, field(keypackage.FieldEvent, fields{"kind": 447}), keypackage.RejectMalformedDocument},
		"event is not JSON":     {nil, field(keypackage.FieldEvent, "\x01\x02{"), keypackage.RejectMalformedEvent},
		"event is a JSON array": {nil, field(keypackage.FieldEvent, `["EVENT"]`), keypackage.RejectMalformedEvent},
		"created_at is text": {nil, func(d *stored) {
			d.fields[keypackage.FieldEvent] = strings.Replace(d.event.String(), `"created_at":`, `"created_at":"x","was":`, 1)
		}, keypackage.RejectMalformedEvent},
		"600 KB": {func(event *nostr.Event) { event.Content = strings.Repeat("x", 600<<10) }, nil, keypackage.RejectTooLarge},
	}
}

// One reason, an acknowledgement, nothing consumed.
func TestRejectedRequests(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(2)
	t.Run("each", func(t *testing.T) { // returns after all of them
		for name := range rejections(actors.NewKey(), bob) {
			t.Run(name, func(t *testing.T) {
				mallory := actors.NewKey()
				onEveryday(t).rejects(mallory, bob, rejections(mallory, bob)[name])
			})
		}
	})
	s.left(bob, published...)
}

func (s *world) rejects(requester, owner actors.Key, rejection rejection) {
	s.t.Helper()
	event := actors.NewRequest(actors.Question{Owners: []string{owner.Pubkey}})
	if rejection.spoil != nil {
		rejection.spoil(event)
	}
	s.must(requester.Sign(event))
	document := &stored{event.ID, event, requestDocument(event)}
	if rejection.forge != nil {
		rejection.forge(document)
	}
	s.create(s.names.Requests, document.id, document.fields)

	s.acknowledgedAtOnce(document.id)
	s.answered(document.id, keypackage.OutcomeRejected)
	claims := s.claims(document.id)
	if len(claims) != 1 || claims[0].Reason != string(rejection.reason) {
		s.t.Errorf("claims %+v, want the reason %s", claims, rejection.reason)
	}
	outcome, _ := s.read(s.names.Requests, document.id)["outcome"].(map[string]any)
	if outcome["status"] != "rejected" {
		s.t.Errorf("the document says %v", outcome)
	}
	s.reach(document.id, 0, nil)
}

func TestRequesterIsToldOfARejection(t *testing.T) {
	s := onEveryday(t)
	alice := s.requester(actors.NewKey())
	request := s.ask(alice, actors.Question{Owners: []string{alice.Pubkey}})
	s.told(alice, request, relayapi.OutcomeRow{Requested: 1, Reason: "self_request"})
}

// What the relay writes beside the signed event is a copy: if it is missing or odd, the event is served all the same.
func TestOddDocumentsAreServed(t *testing.T) {
	for name, change := range map[string]func(fields){
		"only the event":        func(f fields) { clear(f) },
		"kind is text":          func(f fields) { f[keypackage.FieldKind] = "447" },
		"receipt is text":       func(f fields) { f[keypackage.FieldReceivedAt] = "yesterday" },
		"another's pubkey":      func(f fields) { f["pubkey"] = strings.Repeat("0", 64) },
		"100 KB of other field": func(f fields) { f["junk"] = strings.Repeat("x", 100<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			s := onEveryday(t)
			bob, published := s.owner(2)
			alice := s.requester(bob)
			event := s.question(alice.Key, actors.Question{Owners: []string{bob.Pubkey}})
			document := requestDocument(event)
			change(document)
			document[keypackage.FieldEvent] = event.String()
			s.create(s.names.Requests, event.ID, document)
			s.holds(alice, published[0])
		})
	}
}

func TestOtherKindsAreIgnored(t *testing.T) {
	for name, withKind := range map[string]bool{"named on the document": true, "named in the event only": false} {
		t.Run(name, func(t *testing.T) {
			s := onEveryday(t)
			bob, published := s.owner(1)
			note := actors.NewRequest(actors.Question{Owners: []string{bob.Pubkey}})
			note.Kind = nostr.KindTextNote
			s.must(actors.NewKey().Sign(note))
			document := requestDocument(note)
			if !withKind {
				delete(document, keypackage.FieldKind)
			}
			s.create(s.names.Requests, note.ID, document)

			s.acknowledgedAtOnce(note.ID)
			s.tick()
			if claims := s.claims(note.ID); len(claims) != 0 {
				t.Errorf("claims %+v", claims)
			}
			if after := s.read(s.names.Requests, note.ID); after["outcome"] != nil {
				t.Errorf("the document got an outcome: %v", after["outcome"])
			}
			s.left(bob, published...)
		})
	}
}
