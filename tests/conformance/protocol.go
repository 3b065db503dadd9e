package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// information is what the NIP-11 document says of KeyPackages.
type information struct {
	Pubkey   string   `json:"pubkey"`
	Outcome  int      `json:"outcome_kind"`
	Notice   int      `json:"notice_kind"`
	Requests []string `json:"requests"`
}

func (p *probe) information(ctx context.Context) (information, error) {
	var document struct {
		KeyPackages information `json:"keypackages"`
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(p.Relay, "ws", "http", 1), nil)
	if err != nil {
		return information{}, err
	}
	request.Header.Set("Accept", "application/nostr+json")
	response, err := p.http.Do(request)
	if err != nil {
		return information{}, fmt.Errorf("the NIP-11 document: %w", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&document); err != nil {
		return information{}, fmt.Errorf("the NIP-11 document: %w", err)
	}
	if !keypackage.IsPubkey(document.KeyPackages.Pubkey) {
		return information{}, errors.New("the NIP-11 document names no key that outcomes and notices are signed with")
	}
	return document.KeyPackages, nil
}

// announced checks the document and that nobody else can speak in the relay's name.
func announced(ctx context.Context, p *probe) error {
	said, err := p.information(ctx)
	if err != nil {
		return err
	}
	key := actors.NewKey()
	s, err := p.join(ctx, key)
	if err != nil {
		return err
	}
	defer s.leave()
	for _, kind := range []int{said.Outcome, said.Notice} {
		if !nostr.IsEphemeralKind(kind) {
			return fmt.Errorf("the NIP-11 document names the kind %d, which is not ephemeral", kind)
		}
		forged := &nostr.Event{Kind: kind, CreatedAt: nostr.Now(), Content: `{"rows":[]}`}
		if err := key.Sign(forged); err != nil {
			return err
		}
		if s.submit(ctx, "EVENT", forged) == nil {
			return fmt.Errorf("an event of kind %d of somebody else was accepted", kind)
		}
	}
	return nil
}

func authRequired(ctx context.Context, p *probe) error {
	s, err := p.visit(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	reason, err := s.ask(ctx, "anonymous", keyPackagesOf(actors.NewKey()))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(reason, "auth-required:") {
		return fmt.Errorf("a REQ for kind 443 ended with %q", reason)
	}
	request := actors.NewRequest(actors.Question{Owners: []string{actors.NewKey().Pubkey}})
	if err := actors.NewKey().Sign(request); err != nil {
		return err
	}
	if err := s.submit(ctx, "EVENT", request); err == nil || !strings.Contains(err.Error(), "auth-required:") {
		return fmt.Errorf("a 447 was answered: %w", errors.Join(errors.New("not auth-required"), err))
	}
	return nil
}

// addressable has everybody read a kind 30443.
func addressable(ctx context.Context, p *probe) (err error) {
	owner, stranger := actors.NewKey(), actors.NewKey()
	encoded, err := mlsgen.New(mlsgen.Options{Owner: owner.Pubkey})
	if err != nil {
		return err
	}
	event, err := actors.MDK.Publish(owner, encoded, p.Relay, nostr.Now())
	if err != nil {
		return err
	}
	s, err := p.join(ctx, owner)
	if err != nil {
		return err
	}
	defer s.leave()
	if err := s.publish(ctx, event); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.withdraw(ctx, owner, event)) }()
	ways := []nostr.Filter{{Kinds: []int{keypackage.KindAddressableKeyPackage}, Authors: []string{owner.Pubkey}}}
	for who, key := range map[string]*actors.Key{"somebody else": &stranger, "a session that is not authenticated": nil} {
		if err := p.reads(ctx, key, event.ID, true, ways); err != nil {
			return fmt.Errorf("%s %w", who, err)
		}
	}
	return nil
}

// severalKeys authenticates twice on one connection and asks for both owners' stock.
func severalKeys(ctx context.Context, p *probe) (err error) {
	first, second := actors.NewKey(), actors.NewKey()
	s, err := p.join(ctx, first)
	if err != nil {
		return err
	}
	defer s.leave()
	if err := s.prove(ctx, second); err != nil {
		return fmt.Errorf("authenticate a second key: %w", err)
	}
	for _, key := range []actors.Key{first, second} {
		event, err := p.publishKeyPackage(ctx, key)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.withdraw(ctx, key, event)) }()
		s.events = nil
		if err := s.subscribe(ctx, "own", keyPackagesOf(key)); err != nil {
			return err
		}
		if !contains(s.events, event.ID) {
			return errors.New("one of two authenticated keys is not served its own KeyPackage")
		}
	}
	return nil
}

// closedSubscription closes a subscription in the same breath in which it opens it.
func closedSubscription(ctx context.Context, p *probe) error {
	owner, requester := actors.NewKey(), actors.NewKey()
	s, err := p.join(ctx, requester)
	if err != nil {
		return err
	}
	defer s.leave()
	deliveries, err := p.deliveries(owner, 1)
	if err != nil {
		return err
	}
	filter := keyPackagesOf(owner)
	filter.LimitZero = true // it asks for nothing
	if err := errors.Join(s.send(ctx, "REQ", "short", filter), s.send(ctx, "CLOSE", "short")); err != nil {
		return err
	}
	if err := s.subscribe(ctx, "other", nostr.Filter{Kinds: []int{nostr.KindTextNote}, LimitZero: true}); err != nil {
		return err
	}
	return p.expect(ctx, relayapi.NoSubscription, requester.Pubkey, deliveries...)
}

// reqIsARequest has an ordinary client read an owner's KeyPackages.
func reqIsARequest(ctx context.Context, p *probe) (err error) {
	said, err := p.information(ctx)
	if err != nil {
		return err
	}
	if !strings.Contains(strings.Join(said.Requests, " "), "REQ") {
		return notChecked("the NIP-11 document does not say that a REQ is a request")
	}
	owner := actors.NewKey()
	event, err := p.publishKeyPackage(ctx, owner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.withdraw(ctx, owner, event)) }()
	s, err := p.join(ctx, actors.NewKey())
	if err != nil {
		return err
	}
	defer s.leave()
	if err := s.subscribe(ctx, "keypackages", keyPackagesOf(owner)); err != nil {
		return err
	}
	if !contains(s.events, event.ID) {
		return errors.New("the end of stored events came before the KeyPackage")
	}
	return s.gotEvent(ctx, "the requester", event)
}
