package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// authRequired asks for what only who has authenticated gets, and then does what ordinary clients do at that word.
func authRequired(ctx context.Context, p *probe) error {
	s, err := p.visit(ctx)
	if err != nil {
		return err
	}
	key := actors.NewKey()
	filters := []nostr.Filter{keyPackagesOf(actors.NewKey())}
	for _, kind := range []int{keypackage.KindKeyPackage, keypackage.KindOutcome, keypackage.KindLevel} {
		filters = append(filters, nostr.Filter{Kinds: []int{kind}})
	}
	for _, filter := range filters {
		if reason, err := s.ask(ctx, "anonymous", filter); err != nil || !strings.HasPrefix(reason, "auth-required:") {
			return fmt.Errorf("a REQ for %v ended with %q: %w", filter, reason, cmp.Or(err, errors.New("not with auth-required")))
		}
	}
	if err := s.refusesRequest(ctx, key); err != nil {
		return err
	}
	if err := s.authenticate(ctx, key); err != nil {
		return err
	}
	if reason, err := s.ask(ctx, "known", filters[0]); err != nil || reason != "" {
		return fmt.Errorf("a REQ after authenticating ended with %q: %w", reason, cmp.Or(err, errors.New("it was closed")))
	}
	return s.refusesRequest(ctx, actors.NewKey())
}

// refusesRequest fails unless the key's 447 is answered by what makes clients authenticate.
func (s *session) refusesRequest(ctx context.Context, key actors.Key) error {
	request := signed(key, actors.NewRequest(actors.Question{Owners: []string{actors.NewKey().Pubkey}}))
	if err := s.submit(ctx, "EVENT", request); err == nil || !strings.Contains(err.Error(), "auth-required:") {
		return fmt.Errorf("a 447 whose author has not authenticated: %w", cmp.Or(err, errors.New("it was accepted")))
	}
	return nil
}

// severalKeys authenticates twice on one connection, asks for both owners' stock, and has both given something.
func severalKeys(ctx context.Context, p *probe) error {
	keys := []actors.Key{actors.NewKey(), actors.NewKey()}
	s, err := p.join(ctx, keys[0])
	if err != nil {
		return err
	}
	if err := s.authenticate(ctx, keys[1]); err != nil {
		return fmt.Errorf("authenticate a second key: %w", err)
	}
	for _, key := range keys {
		event, err := p.publishKeyPackage(ctx, key)
		if err != nil {
			return err
		}
		if err := s.serves(ctx, keyPackagesOf(key), event.ID, true); err != nil {
			return fmt.Errorf("one of two authenticated keys %w", err)
		}
	}
	owner := actors.NewKey()
	deliveries := p.deliveries(owner, len(keys))
	s.forget()
	if err := s.subscribe(ctx, "keypackages", listening(owner)); err != nil {
		return err
	}
	for i, key := range keys {
		if err := p.expect(ctx, relayapi.Delivered, key.Pubkey, deliveries[i]); err != nil {
			return fmt.Errorf("the delivery to one of two authenticated keys: %w", err)
		}
	}
	return s.got(ctx, "a session of two keys", deliveries[0].Event, deliveries[1].Event)
}

// pipelined sends subscriptions and a request without waiting for anything, as clients do. The owner has stock, so that whoever
// serves requests has something to deliver; the delivery that is certain to come is pushed here.
func pipelined(ctx context.Context, p *probe) error {
	owner, requester := actors.NewKey(), actors.NewKey()
	deliveries := p.deliveries(owner, 1)
	if _, err := p.publishKeyPackage(ctx, owner); err != nil {
		return err
	}
	s, err := p.join(ctx, requester)
	if err != nil {
		return err
	}
	if err := s.pipeline(ctx, requester, owner); err != nil {
		return err
	}
	if err := p.expect(ctx, relayapi.NoSubscription, requester.Pubkey, deliveries...); err != nil {
		return fmt.Errorf("with a subscription that was closed before the request: %w", err)
	}
	if err := s.pipeline(ctx, requester, owner, "second"); err != nil {
		return err
	}
	if err := p.expect(ctx, relayapi.Delivered, requester.Pubkey, deliveries...); err != nil {
		return fmt.Errorf("with another subscription, opened before the request: %w", err)
	}
	received, err := s.all(ctx, 1)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(s.on, func(id string) bool { return id != "second" }); i >= 0 {
		return fmt.Errorf("an event came on the subscription %q, which was not open", s.on[i])
	}
	if !slices.Contains(received, deliveries[0].Event) {
		return errors.New("the delivery did not come")
	}
	return nil
}

// pipeline opens and closes a subscription, opens others and asks, all in one breath.
func (s *session) pipeline(ctx context.Context, requester, owner actors.Key, open ...string) error {
	err := errors.Join(s.send(ctx, "REQ", "first", listening(owner)), s.send(ctx, "CLOSE", "first"))
	for _, id := range open {
		err = errors.Join(err, s.send(ctx, "REQ", id, listening(owner)))
	}
	request := signed(requester, actors.NewRequest(actors.Question{Owners: []string{owner.Pubkey}, TTL: life}))
	return errors.Join(err, s.publish(ctx, request))
}

// deleted publishes a KeyPackage and its deletion, one after another and in one breath, and then the KeyPackage once more.
func deleted(ctx context.Context, p *probe) error {
	for what, send := range map[string]func(*session, *nostr.Event) error{
		"a KeyPackage that is deleted later":   func(s *session, e *nostr.Event) error { return s.publish(ctx, e) },
		"a KeyPackage that is deleted at once": func(s *session, e *nostr.Event) error { return s.send(ctx, "EVENT", e) },
	} {
		if err := p.staysAway(ctx, send); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func (p *probe) staysAway(ctx context.Context, send func(*session, *nostr.Event) error) error {
	owner := actors.NewKey()
	event := p.keyPackage(owner)
	deletion := signed(owner, &nostr.Event{Kind: nostr.KindDeletion, CreatedAt: nostr.Now(), Tags: nostr.Tags{{"e", event.ID}}})
	s, err := p.join(ctx, owner)
	if err != nil {
		return err
	}
	if err := errors.Join(send(s, event), s.publish(ctx, deletion), s.serves(ctx, keyPackagesOf(owner), event.ID, false)); err != nil {
		return err
	}
	_ = s.submit(ctx, "EVENT", event) // a relay may refuse it, or say that it knows it
	return s.serves(ctx, keyPackagesOf(owner), event.ID, false)
}

// answered sends messages of which nothing can be used but the id.
func answered(ctx context.Context, p *probe) error {
	key := actors.NewKey()
	s, err := p.join(ctx, key)
	if err != nil {
		return err
	}
	for _, fields := range []string{
		`"kind":443`,
		`"kind":"443"`,
		`"kind":443.5`,
		`"kind":443,"pubkey":"KEY","created_at":1.5,"tags":[],"content":"","sig":"IDID"`,
		`"kind":443,"pubkey":"KEY","created_at":"1","tags":[],"content":"","sig":"IDID"`,
		`"kind":447,"pubkey":"KEY","created_at":1,"tags":{},"content":"","sig":"IDID"`,
	} {
		id := randomID()
		frame := strings.NewReplacer("ID", id, "KEY", key.Pubkey).Replace(`{"id":"ID",` + fields + `}`)
		if err := s.isAnswered(ctx, `["EVENT",`+frame+`]`, "OK", id); err != nil {
			return err
		}
	}
	for _, frame := range []string{
		`["REQ","id"]`, `["REQ","id",7]`, `["REQ","id",{"kinds":["443"]}]`, `["REQ","id",{"kinds":[443.5]}]`,
		`["REQ","id",{"kinds":[443],"authors":"bob"}]`, `["COUNT","id",{"kinds":["443"]}]`,
	} {
		if err := s.isAnswered(ctx, frame, "CLOSED", "id"); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) isAnswered(ctx context.Context, frame, label, id string) error {
	if err := s.conn.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		return err
	}
	answer, err := s.until(ctx, s.probe.arrival(), func(m message) bool { return m.label() == label && m.text(1) == id })
	if err != nil {
		return fmt.Errorf("%s: wait for %s: %w", frame, label, err)
	}
	if label == "OK" && (len(answer) < 3 || string(answer[2]) != "false") {
		return fmt.Errorf("%s was accepted", frame)
	}
	return nil
}

// reqIsARequest has an ordinary client read an owner's KeyPackages.
func reqIsARequest(ctx context.Context, p *probe) error {
	said, err := actors.ReadAnnouncement(ctx, p.Relay)
	if err != nil {
		return err
	}
	if !slices.Contains(said.Requests, "REQ") {
		return notChecked("the NIP-11 document does not say that a REQ is a request")
	}
	owner := actors.NewKey()
	event, err := p.publishKeyPackage(ctx, owner)
	if err != nil {
		return err
	}
	requester := actors.NewKey()
	s, err := p.listener(ctx, &requester, keyPackagesOf(owner))
	if err != nil {
		return err
	}
	if !contains(s.events, event.ID) {
		return errors.New("the end of stored events came before the KeyPackage")
	}
	return s.gotEvent(ctx, "the requester", event)
}
