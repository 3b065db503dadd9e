package gateway

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip70"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// handle deals with one frame of the client. When it returns, what the frame asks for has been done, or, for the answer to a REQ,
// begun.
func (s *session) handle(frame []byte) {
	label, err := wire.Label(frame)
	switch {
	case err != nil:
		s.refuse("", "invalid: "+err.Error())
	case label == "EVENT":
		s.publish(frame)
	case s.gone.Load():
	case label == "REQ":
		s.subscribe(frame)
	case label == "CLOSE":
		s.unsubscribe(frame)
	case label == "AUTH":
		s.login(frame)
	case label == "COUNT", label == "NEG-OPEN":
		s.ask(frame, label == "COUNT")
	default:
		s.forward(frame, "", "error: this relay does not know that message")
	}
}

// forward sends up what is not ours; an OK will be upstream's. alone is said if there is none.
func (s *session) forward(frame []byte, id, alone string) {
	if s.link != nil {
		alone = s.link.send(frame)
	}
	if alone != "" {
		s.refuse(id, alone)
	}
}

// refuse answers an EVENT or AUTH with that id, or, where there is none, says it to people.
func (s *session) refuse(id, reason string) {
	if id == "" {
		s.answer(wire.Message("NOTICE", reason))
	} else {
		s.answer(wire.OK(id, false, reason))
	}
}

// publish deals with an EVENT by its kind, which must be the same to every parser.
func (s *session) publish(frame []byte) {
	e, err := wire.SplitLoosely(frame)
	object := e.Object(0)
	id := wire.ID(object)
	if err != nil || object == nil || len(e) != 1 {
		s.refuse(id, "invalid: an EVENT is one object")
		return
	}
	kind, ok := wire.Kind(object)
	if !ok {
		s.refuse(id, "invalid: its kind can be read in several ways")
		return
	}
	switch kind {
	case keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage:
		s.publishOurs(frame, object, bounds.Publishing, "publishing a KeyPackage", s.keepKeyPackage)
	case keypackage.KindRequest:
		s.publishOurs(frame, object, bounds.Requesting, "taking a request", s.takeRequest)
	case nostr.KindDeletion:
		s.publishOurs(frame, object, bounds.Publishing, "deleting", s.delete)
	case keypackage.KindOutcome, keypackage.KindLevel:
		s.refuse(id, "blocked: this kind is the relay's own")
	default:
		s.forward(frame, id, "blocked: this relay keeps KeyPackages only")
	}
}

// taken is what becomes of an event of ours: an answer, whether upstream, whose OK is then the client's, gets it, too, and what is
// done after that (nil: nothing).
type taken struct {
	Answer
	goesUp bool
	then   func(context.Context)
}

func refused(reason string) taken { return taken{Answer: Answer{Reason: reason}} }

// publishOurs verifies an event and deals with it. There is one OK: ours, if it is negative or upstream does not get the event.
func (s *session) publishOurs(
	frame []byte, object jsontext.Value, kind bounds.Cost, what string, take func(context.Context, Event) (taken, error),
) {
	if !s.allow(kind, 1) { // first: a signature costs something, too
		s.refuse(wire.ID(object), "rate-limited: too many events")
		return
	}
	event, err := keypackage.VerifyEvent(string(object))
	if err != nil {
		s.refuse(wire.ID(object), "invalid: "+err.Error())
		return
	}
	ctx, cancel := s.port()
	defer cancel()
	result, err := take(ctx, Event{Event: event, Raw: string(object)})
	if err != nil {
		result = refused(s.failed(what, err))
	}
	if result.then != nil {
		defer s.begin(func() {
			ctx, cancel := s.port()
			defer cancel()
			result.then(ctx)
		})
	}
	if result.Accepted && result.goesUp && s.link.send(frame) == "" {
		return
	}
	s.answer(wire.OK(event.ID, result.Accepted, result.Reason))
}

// failed is what clients are told of an error, which is logged instead.
func (s *session) failed(what string, err error) string {
	s.Log.Error(what+" failed", "error", err)
	return "error: the store does not answer, try again"
}

func (s *session) keepKeyPackage(ctx context.Context, e Event) (taken, error) {
	if nip70.IsProtected(*e.Event) && !s.is(e.PubKey) {
		return refused("auth-required: only its author may publish it"), nil
	}
	serving := s.Ports.Serving()
	answer, err := s.Ports.Publish(ctx, e, !serving)
	switch {
	case err != nil:
	case !answer.Accepted:
		s.tally.publishRefused.Add(1)
	case answer.Reason == "": // otherwise it is no news
		s.forgetStock(e.PubKey)
		s.broadcast(e)
	}
	return taken{Answer: answer, goesUp: e.Kind == keypackage.KindAddressableKeyPackage || !serving}, err
}

func (s *session) delete(ctx context.Context, e Event) (taken, error) {
	answer, err := s.Ports.Delete(ctx, e)
	return taken{Answer: answer, goesUp: true}, err
}

func (s *session) takeRequest(ctx context.Context, e Event) (taken, error) {
	if !s.is(e.PubKey) {
		return refused("auth-required: the KeyPackages go to its author's sessions"), nil
	}
	named := slices.Collect(e.Tags.FindAll("p"))
	if more := min(len(named), keypackage.MaxOwners) - 1; more > 0 && !s.allow(bounds.Requesting, more) {
		return refused("rate-limited: too many requests"), nil
	}
	if !s.slots.TryAcquire(1) {
		return refused("rate-limited: too many requests are under way"), nil
	}
	answer, serve, err := s.Ports.Take(ctx, e)
	if err != nil || serve == nil {
		s.slots.Release(1)
	}
	return taken{Answer: answer, goesUp: !s.Ports.Serving(), then: serve}, err
}

// ask deals with a COUNT (NIP-45), because a number says as much as an event, or a NEG-OPEN (NIP-77), whose one filter stands before
// the message. It goes up unless it is unreadable or could include what is hidden.
func (s *session) ask(frame []byte, isCount bool) {
	e, err := split(frame)
	label, alone := "NEG-ERR", "blocked: this relay does not synchronise"
	ours := "blocked: KeyPackages and their requests are not synchronised, name other kinds"
	if isCount {
		label, alone = "CLOSED", "error: this relay does not count"
		ours = "restricted: KeyPackages and their requests are not counted, name other kinds"
	} else {
		e = e[:min(2, len(e))]
	}
	id, filters, reason := readQuery(e, err)
	mayInclude := func(f wire.Filter) bool { return f.Kinds == nil || f.Names(hidden...) }
	switch {
	case id == "":
		s.refuse("", reason)
		return
	case reason != "":
	case s.Ports.Serving() && slices.ContainsFunc(filters, mayInclude):
		reason = ours
	case s.link == nil:
		reason = alone
	default:
		reason = s.link.send(frame)
	}
	if reason != "" {
		s.answer(wire.Message(label, id, reason))
	}
}

// split takes a frame apart also if it is not I-JSON, so that what is wrong with it can be said to whom it concerns.
func split(frame []byte) (wire.Elements, error) {
	e, err := wire.Split(frame)
	if err != nil {
		e, _ = wire.SplitLoosely(frame)
	}
	return e, err
}

// readQuery reads what split returned of a REQ, COUNT or NEG-OPEN. Without an id nothing could be read; with a reason the filters
// could not.
func readQuery(e wire.Elements, err error) (id string, filters []wire.Filter, reason string) {
	id, ok := e.Text(0)
	switch {
	case !ok || id == "":
		return "", nil, "invalid: it names no subscription"
	case len([]rune(id)) > bounds.MaxSubscriptionID:
		return id, nil, "invalid: a subscription's id has at most 64 characters"
	case err != nil:
		return id, nil, "invalid: " + err.Error()
	case len(e) == 1:
		return id, nil, "invalid: there is no filter"
	case len(e)-1 > bounds.MaxFilters:
		return id, nil, "invalid: there are more than 100 filters"
	}
	for _, raw := range e[1:] {
		f, err := wire.ParseFilter(raw)
		if err != nil {
			return id, nil, "invalid: " + err.Error()
		}
		filters = append(filters, f)
	}
	return id, filters, ""
}
