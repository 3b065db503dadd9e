package gateway

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"

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
		_ = s.answer(wire.Notice("invalid: " + err.Error()))
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
		s.pass(frame)
	}
}

// pass sends on what is not ours.
func (s *session) pass(frame []byte) {
	if s.link == nil {
		_ = s.answer(wire.Notice("error: this relay does not know that message"))
	} else if err := s.link.send(frame); err != nil {
		_ = s.answer(wire.Notice(err.Error()))
	}
}

// publish deals with an EVENT by its kind, which must be the same to every parser.
func (s *session) publish(frame []byte) {
	e, err := wire.SplitLoosely(frame)
	object, ok := e.Object(0)
	if err != nil || !ok || len(e) != 1 {
		s.refuseEvent(frame, "invalid: an EVENT is one object")
		return
	}
	kind, ok := wire.Kind(object)
	if !ok {
		s.refuseEvent(frame, "invalid: its kind can be read in several ways")
		return
	}
	switch kind {
	case keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage:
		s.publishOurs(frame, object, bounds.Publishing, s.keepKeyPackage)
	case keypackage.KindRequest:
		s.publishOurs(frame, object, bounds.Requesting, s.takeRequest)
	case nostr.KindDeletion:
		s.publishOurs(frame, object, bounds.Publishing, s.delete)
	case keypackage.KindOutcome, keypackage.KindLevel:
		s.refuse(wire.ID(object), "blocked: this kind is the relay's own")
	default:
		s.forward(frame, wire.ID(object))
	}
}

// forward sends an event up, whose OK will be upstream's.
func (s *session) forward(frame []byte, id string) {
	if s.link == nil {
		s.refuse(id, "blocked: this relay keeps KeyPackages only")
	} else if err := s.link.send(frame); err != nil {
		s.refuse(id, err.Error())
	}
}

// taken is what becomes of an event of ours: an answer, whether upstream, whose OK is then the client's, gets it, too, and what is
// done after that (nil: nothing).
type taken struct {
	Answer
	goesUp bool
	then   func()
}

// publishOurs verifies an event and deals with it. There is one OK: ours, if it is negative or upstream does not get the event.
func (s *session) publishOurs(frame []byte, object jsontext.Value, kind bounds.Cost, take func(Event) taken) {
	if !s.allow(kind, 1) { // first: a signature costs something, too
		s.refuse(wire.ID(object), "rate-limited: too many events")
		return
	}
	event, err := keypackage.VerifyEvent(string(object))
	if err != nil {
		s.refuse(wire.ID(object), "invalid: "+err.Error())
		return
	}
	result := take(Event{Event: event, Raw: string(object)})
	if result.then != nil {
		defer s.begin(result.then)
	}
	if result.Accepted && result.goesUp && s.link.send(frame) == nil {
		return
	}
	_ = s.answer(wire.OK(event.ID, result.Accepted, result.Reason))
}

func refused(reason string) taken { return taken{Answer: Answer{Reason: reason}} }

// failed is what clients are told of an error, which is logged instead.
func (s *session) failed(what string, err error) string {
	s.Log.Error(what+" failed", "error", err)
	return "error: the store does not answer, try again"
}

func (s *session) keepKeyPackage(e Event) taken {
	if isProtected(e) && !s.is(e.PubKey) {
		return refused("auth-required: only its author may publish it")
	}
	serving := s.Ports.Serving()
	ctx, cancel := s.port()
	defer cancel()
	answer, err := s.Ports.Publish(ctx, e, !serving)
	if err != nil {
		return refused(s.failed("publishing a KeyPackage", err))
	}
	switch {
	case !answer.Accepted:
		s.tally.publishRefused.Add(1)
	case answer.Reason == "": // otherwise it is no news
		s.forgetStock(e.PubKey)
		s.broadcast(e)
	}
	return taken{Answer: answer, goesUp: e.Kind == keypackage.KindAddressableKeyPackage || !serving}
}

// isProtected reports whether an event is for its author to publish (NIP-70).
func isProtected(e Event) bool {
	return slices.ContainsFunc(e.Tags, func(tag nostr.Tag) bool { return len(tag) == 1 && tag[0] == "-" })
}

func (s *session) delete(e Event) taken {
	ctx, cancel := s.port()
	defer cancel()
	answer, err := s.Ports.Delete(ctx, e)
	if err != nil {
		return refused(s.failed("deleting", err))
	}
	return taken{Answer: answer, goesUp: true}
}

func (s *session) takeRequest(e Event) taken {
	if !s.is(e.PubKey) {
		return refused("auth-required: the KeyPackages go to its author's sessions")
	}
	if more := owners(e) - 1; !s.allow(bounds.Requesting, more) {
		return refused("rate-limited: too many requests")
	}
	if !s.reserve() {
		return refused("rate-limited: too many requests are under way")
	}
	ctx, cancel := s.port()
	defer cancel()
	answer, serve, err := s.Ports.Take(ctx, e)
	if err != nil || serve == nil {
		s.unreserve()
	}
	if err != nil {
		return refused(s.failed("taking a request", err))
	}
	t := taken{Answer: answer, goesUp: !s.Ports.Serving()}
	if serve != nil {
		t.then = func() {
			ctx, cancel := s.port()
			defer cancel()
			serve(ctx)
		}
	}
	return t
}

// owners is how many units of work a request may be, at least one.
func owners(request Event) int {
	named := slices.Collect(request.Tags.FindAll("p"))
	return max(1, min(len(named), keypackage.MaxOwners))
}

// refuse answers an EVENT or AUTH with that id, or, where none could be read, says it to people.
func (s *session) refuse(id, reason string) {
	if id == "" {
		_ = s.answer(wire.Notice(reason))
	} else {
		_ = s.answer(wire.OK(id, false, reason))
	}
}

// refuseEvent is refuse for a frame of which no more is known than its label.
func (s *session) refuseEvent(frame []byte, reason string) {
	e, _ := wire.SplitLoosely(frame)
	object, _ := e.Object(0)
	s.refuse(wire.ID(object), reason)
}

// mayInclude reports whether a filter could bring events of the hidden kinds.
func mayInclude(f wire.Filter) bool { return f.AnyKind() || f.NamesAny(hidden...) }

// ask deals with a COUNT (NIP-45), because a number says as much as an event, or a NEG-OPEN (NIP-77), whose one filter stands before
// the message. It goes up unless it is unreadable or could include what is hidden.
func (s *session) ask(frame []byte, isCount bool) {
	e, err := split(frame)
	refuse, alone := wire.NegErr, "blocked: this relay does not synchronise"
	ours := "blocked: KeyPackages and their requests are not synchronised, name other kinds"
	if isCount {
		refuse, alone = wire.Closed, "error: this relay does not count"
		ours = "restricted: KeyPackages and their requests are not counted, name other kinds"
	} else {
		e = e[:min(2, len(e))]
	}
	id, filters, reason := readQuery(e, err)
	switch {
	case id == "":
		_ = s.answer(wire.Notice(reason))
		return
	case reason != "":
	case s.Ports.Serving() && slices.ContainsFunc(filters, mayInclude):
		reason = ours
	case s.link == nil:
		reason = alone
	default:
		if err := s.link.send(frame); err != nil {
			reason = err.Error()
		}
	}
	if reason != "" {
		_ = s.answer(refuse(id, reason))
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
	if filters, err = wire.ParseFilters(e[1:]); err != nil {
		return id, nil, "invalid: " + err.Error()
	}
	return id, filters, ""
}
