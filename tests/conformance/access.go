package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// emptyPush is a good push with nothing in it.
func emptyPush() []byte { return encode(pushOf(actors.NewKey().Pubkey)) }

// answers fails unless a request is answered with one of the codes.
func (p *probe) answers(ctx context.Context, what, method, token string, body []byte, codes ...int) error {
	code, _, err := p.call(ctx, method, token, body)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !slices.Contains(codes, code) {
		return fmt.Errorf("%s was answered %d", what, code)
	}
	return nil
}

func wrongTokens(ctx context.Context, p *probe) error {
	tokens := map[string]string{
		"a push without a token":                       "",
		"a push with a token that is none":             "x.y.z",
		"a push with a token whose signature is wrong": p.Token[:max(0, strings.LastIndex(p.Token, "."))+1] + strings.Repeat("A", 342),
	}
	if p.OtherAudience != "" {
		tokens["a push with a token for another audience"] = p.OtherAudience
	}
	for what, token := range tokens {
		if err := p.answers(ctx, what, http.MethodPost, token, emptyPush(), http.StatusUnauthorized); err != nil {
			return err
		}
	}
	return nil
}

func otherCaller(ctx context.Context, p *probe) error {
	if p.OtherCaller == "" {
		return notChecked("a good token of another account is needed")
	}
	return p.answers(ctx, "a push by another account", http.MethodPost, p.OtherCaller, emptyPush(), http.StatusForbidden)
}

func otherMethods(ctx context.Context, p *probe) error {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if err := p.answers(ctx, method, method, p.Token, nil, http.StatusMethodNotAllowed); err != nil {
			return err
		}
	}
	return nil
}

func malformedBodies(ctx context.Context, p *probe) error {
	good := emptyPush()
	for what, body := range map[string][]byte{
		"no JSON":                             []byte("x"),
		"an empty body":                       {},
		"{}":                                  []byte("{}"),
		"a push whose deliveries are missing": bytes.Replace(good, []byte(`"deliveries"`), []byte(`"others"`), 1),
		"a push whose requester is no key":    encode(pushOf("alice")),
	} {
		if err := p.answers(ctx, what, http.MethodPost, p.Token, body, http.StatusBadRequest); err != nil {
			return err
		}
	}
	return nil
}

func largeBodies(ctx context.Context, p *probe) error {
	padded := func(size int) []byte {
		body := emptyPush()
		return append(body, bytes.Repeat([]byte(" "), size-len(body))...)
	}
	if err := p.takesLargest(ctx, padded(relayapi.MaxRequestBytes)); err != nil {
		return err
	}
	return p.answers(ctx, "a push of more than 8 MiB", http.MethodPost, p.Token, padded(relayapi.MaxRequestBytes+1),
		http.StatusOK, http.StatusRequestEntityTooLarge, http.StatusRequestTimeout)
}

// takesLargest tries again after a 408: the body was under way for too long, which says nothing about its size.
func (p *probe) takesLargest(ctx context.Context, body []byte) error {
	for range 3 {
		code, _, err := p.call(ctx, http.MethodPost, p.Token, body)
		if err != nil || code == http.StatusOK {
			return err
		}
		if code != http.StatusRequestTimeout {
			return fmt.Errorf("a push of 8 MiB was answered %d", code)
		}
	}
	return errors.New("a push of 8 MiB was answered 408 each time: it does not arrive fast enough")
}

func directAnswer(ctx context.Context, p *probe) error {
	deliveries := p.deliveries(actors.NewKey(), 3)
	if _, err := p.push(ctx, pushOf(actors.NewKey().Pubkey)); err != nil {
		return fmt.Errorf("without deliveries: %w", err)
	}
	_, err := p.push(ctx, pushOf(actors.NewKey().Pubkey, deliveries...))
	return err
}
