package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	checkPatience = 45 * time.Second // with one check, beside the slack of some steps; the longest takes little more than 5 s
	slackSteps    = 5                // steps of a check that may each need all the slack
	patience      = 30 * time.Second // with an answer: lateness is a rule of its own, other rules should not fail with it
	life          = 5 * time.Minute  // of a push that is not about expiry
	maxAnswer     = 1 << 20          // far above an answer to any push of ours
	packageLife   = time.Hour        // of a KeyPackage: what could not be deleted ends by itself
)

// probe is one check under way. Its methods, and those of its sessions, end the check when something does not work that has to, as
// those of a test do. They are for the check's goroutine only.
type probe struct {
	Target
	ctx                        context.Context
	owner, requester, stranger actors.Key
	trying                     string // what is being tried, for the error; "" if the rule's name says enough
	open                       []*session
	published                  map[string]actors.Key // whose each event is
}

// ending is how a check ends before its end: it panics with this, and try knows it.
type ending struct{ err error }

// try makes a check and cleans up after it. The error says what was seen instead of what has to be, or wraps errNotChecked.
func (t Target) try(ctx context.Context, check func(*probe)) (err error) {
	limit := checkPatience + slackSteps*t.Slack
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("gave up after %v", limit))
	defer cancel()
	p := &probe{
		Target: t, ctx: ctx, owner: actors.NewKey(), requester: actors.NewKey(), stranger: actors.NewKey(), published: map[string]actors.Key{},
	}
	defer func() {
		fault := recover()
		end, expected := fault.(ending)
		if fault != nil && !expected {
			panic(fault)
		}
		for _, s := range p.open {
			_ = s.conn.CloseNow()
		}
		err = errors.Join(end.err, p.withdraw())
	}()
	check(p)
	return nil
}

// fail ends the check with what was seen.
func (p *probe) fail(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if p.trying != "" {
		err = fmt.Errorf("%s: %w", p.trying, err)
	}
	panic(ending{err})
}

var errNotChecked = errors.New("not to be seen from here")

// skip ends the check because the rule cannot be checked.
func (p *probe) skip(why string) { p.fail("%w: %s", errNotChecked, why) }

// must ends the check if this, which has to work, does not.
func (p *probe) must(what string, err error) {
	if err != nil {
		p.fail("%s: %w", what, err)
	}
}

// must is for what only fails if this program is wrong.
func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

func randomID() string { return nostr.GeneratePrivateKey() }

func signed(key actors.Key, event *nostr.Event) *nostr.Event { return must(event, key.Sign(event)) }

func (p *probe) keyPackage(author actors.Key) *nostr.Event {
	return must(actors.NewKeyPackage(author, p.Relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)}))
}

func (p *probe) publishKeyPackage(author actors.Key) *nostr.Event {
	return p.publish(author, p.keyPackage(author))
}

// publish publishes an event, in a session of its author's, and returns it. It is deleted when the check is over.
func (p *probe) publish(author actors.Key, event *nostr.Event) *nostr.Event {
	s := p.visit(author)
	p.published[event.ID] = author
	s.publish(event)
	return event
}

// withdraw deletes what the check has published (NIP-09), also when its time is up.
func (p *probe) withdraw() (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), patience)
	defer cancel()
	for id, author := range p.published {
		owner, failed := actors.ConnectOwner(ctx, p.Relay, author)
		if failed == nil {
			failed = owner.Delete(ctx, id)
			owner.Disconnect()
		}
		err = errors.Join(err, failed)
	}
	clear(p.published)
	return err
}

var keyPackageKind = []int{keypackage.KindKeyPackage}

func keyPackagesOf(owner actors.Key) nostr.Filter {
	return nostr.Filter{Kinds: keyPackageKind, Authors: []string{owner.Pubkey}}
}

// listening is a filter for what is yet to come, which is no request.
func listening(owner actors.Key) nostr.Filter {
	return nostr.Filter{Kinds: keyPackageKind, Authors: []string{owner.Pubkey}, LimitZero: true}
}

// question is a key's signed request to the owner.
func (p *probe) question(key actors.Key) *nostr.Event {
	return signed(key, actors.NewRequest(actors.Question{Owners: []string{p.owner.Pubkey}, TTL: life}))
}

// request is the requester's question to an owner who has no KeyPackage, so that nothing is used up where the functions run, and
// a session that listens to whatever names it.
func (p *probe) request() (*nostr.Event, *session) {
	request := p.question(p.requester)
	return request, p.visit(p.requester).subscribed(nostr.Filter{Tags: nostr.TagMap{"e": {request.ID}}})
}

// deliveries are n deliveries of new KeyPackages of the owner's that were never published.
func (p *probe) deliveries(n int) (deliveries []relayapi.Delivery) {
	for range n {
		deliveries = append(deliveries, deliveryOf(p.keyPackage(p.owner)))
	}
	return deliveries
}

func deliveryOf(event *nostr.Event) relayapi.Delivery {
	id := randomID() + "_" + event.ID
	return relayapi.Delivery{ID: id, KeyPackageEventID: event.ID, OwnerPubkey: event.PubKey, Event: event.String()}
}

// pushOf is a push to the requester that belongs to a request which nobody has made.
func (p *probe) pushOf(deliveries ...relayapi.Delivery) relayapi.DeliveryRequest {
	return relayapi.DeliveryRequest{
		RequestEventID: randomID(), RequesterPubkey: p.requester.Pubkey, ExpiresAt: time.Now().Add(life).Unix(),
		Deliveries: append([]relayapi.Delivery{}, deliveries...), // a list also if there are none
	}
}

func encode(push relayapi.DeliveryRequest) []byte { return must(json.Marshal(push)) }

// call sends a request to the endpoint, without a token if that is "", and follows no redirect, as the function follows none.
func (p *probe) call(ctx context.Context, method, token string, body []byte) (code int, answer []byte) {
	request := must(http.NewRequestWithContext(ctx, method, p.Endpoint, bytes.NewReader(body)))
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := http.Client{Timeout: patience + p.Slack, CheckRedirect: stay}
	response, err := client.Do(request)
	p.must("the endpoint", err)
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	p.must("read the endpoint's answer", err)
	return response.StatusCode, answer
}

// answers fails unless a request is answered with one of the codes.
func (p *probe) answers(what, method, token string, body []byte, codes ...int) {
	if code, _ := p.call(p.ctx, method, token, body); !slices.Contains(codes, code) {
		p.fail("%s was answered %d", what, code)
	}
}

// push pushes as the function does, and returns the status of each delivery by id.
func (p *probe) push(ctx context.Context, push relayapi.DeliveryRequest) map[string]relayapi.Status {
	code, answer := p.call(ctx, http.MethodPost, p.Token, encode(push))
	if code != http.StatusOK {
		p.fail("a push was answered %d instead of 200", code)
	}
	var response relayapi.DeliveryResponse
	p.must("a push was answered with something else than a DeliveryResponse", json.Unmarshal(answer, &response))
	statuses := map[string]relayapi.Status{}
	for _, result := range response.Results {
		if _, twice := statuses[result.ID]; twice || !slices.Contains(relayapi.Statuses, result.Status) {
			p.fail("a result has the status %q, or is not the only one for its delivery", result.Status)
		}
		statuses[result.ID] = result.Status
	}
	for _, d := range push.Deliveries {
		if statuses[d.ID] == "" {
			p.fail("a delivery has no result")
		}
	}
	return statuses
}

// expect pushes deliveries to the requester, one push for all, and fails unless each is answered with the status.
func (p *probe) expect(want relayapi.Status, deliveries ...relayapi.Delivery) {
	for _, got := range p.push(p.ctx, p.pushOf(deliveries...)) {
		if got != want {
			p.fail("the answer was %q instead of %q", got, want)
		}
	}
}

// pushTo is expect for a requester with a new session that has subscribed. All must arrive if the status is `delivered`, else none.
func (p *probe) pushTo(filter nostr.Filter, status relayapi.Status, deliveries ...relayapi.Delivery) {
	s := p.visit(p.requester).subscribed(filter)
	p.expect(status, deliveries...)
	if status != relayapi.Delivered {
		deliveries = nil
	}
	s.got(deliveries...)
}
