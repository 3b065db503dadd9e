package assembly

import (
	"context"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// publisher is the topics as the use cases see them. Messages carry the trace of the invocation that published them.
type publisher struct {
	topic   *topic.Publisher
	notices *topic.Publisher // nil where none are published
}

// PublishRequest implements claiming.Publisher.
func (p publisher) PublishRequest(ctx context.Context, a keypackage.Announcement) error {
	return p.topic.Publish(ctx, topic.Message{
		RequestEventID: a.RequestID, Granted: a.Granted, TraceParent: logging.TraceFrom(ctx).Parent(),
	})
}

// PublishRequesters implements expiring.Deliveries.
func (p publisher) PublishRequesters(ctx context.Context, requesters []string) error {
	messages := make([]topic.Message, len(requesters))
	for i, requester := range requesters {
		messages[i] = topic.Message{RequesterPubkey: requester}
	}
	return p.topic.Publish(ctx, messages...)
}

// PublishNotices implements expiring.Notices.
func (p publisher) PublishNotices(ctx context.Context, notices []keypackage.Notice) error {
	messages := make([]topic.Notice, len(notices))
	for i, n := range notices {
		messages[i] = topic.Notice{
			ID: n.ID(), OwnerPubkey: n.Owner, Ciphersuite: n.Suite, Level: string(n.Level),
			Count: n.Count, Epoch: n.Epoch, At: n.At.Unix(),
		}
	}
	return p.notices.PublishNotices(ctx, messages...)
}

// requests is the claimer as the scheduled function sees it.
type requests struct {
	*claiming.Claimer
	takenUp func(context.Context, claiming.Result, error)
}

// Recover implements expiring.Claimer.
func (r requests) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	result, err := r.Claim(ctx, doc)
	r.takenUp(ctx, result, err)
	return err
}

// endpoint is the relay as the use case sees it.
type endpoint struct{ client *relayapi.Client }

// Push implements delivering.Relay.
func (e endpoint) Push(ctx context.Context, push delivering.Push) delivering.Answer {
	answer := e.client.Deliver(ctx, relayapi.DeliveryRequest{
		RequestEventID: push.RequestID, RequesterPubkey: push.Requester, ExpiresAt: push.ExpiresAt.Unix(),
		Outcome: relayapi.Outcome{Rows: outcomeRows(push.Outcome)}, Deliveries: pushedDeliveries(push.Deliveries),
		TraceParent: logging.TraceFrom(ctx).Parent(),
	})
	statuses := make(map[string]string, len(answer.Results))
	for id, result := range answer.Results {
		statuses[id] = string(result.Status)
	}
	return delivering.Answer{Answer: kindOf(answer), Statuses: statuses, Err: answer.Err}
}

func outcomeRows(rows []keypackage.Row) []relayapi.OutcomeRow {
	var out []relayapi.OutcomeRow
	for _, row := range rows {
		r := relayapi.OutcomeRow{
			Owner: row.Owner, Requested: row.Requested, Granted: row.Granted, LastResort: row.Reserve, Reason: row.Reason,
		}
		if !row.RetryAt.IsZero() {
			r.RetryAt = row.RetryAt.Unix()
		}
		out = append(out, r)
	}
	return out
}

func pushedDeliveries(deliveries []*keypackage.Delivery) []relayapi.Delivery {
	out := make([]relayapi.Delivery, len(deliveries))
	for i, d := range deliveries {
		out[i] = relayapi.Delivery{ID: d.ID, KeyPackageEventID: d.PackageID, OwnerPubkey: d.Owner, Event: d.Event()}
	}
	return out
}

// kindOf translates what the client knows into what follows from it. Of the statuses that refuse a whole push, 404 and
// 413 will not go away by trying again.
func kindOf(answer relayapi.Answer) keypackage.Answer {
	switch answer.Class {
	case relayapi.Answered:
		return keypackage.AnswerResults
	case relayapi.NotSent:
		return keypackage.AnswerNotSent
	case relayapi.Refused:
		if answer.Code == 404 || answer.Code == 413 {
			return keypackage.AnswerMisplaced
		}
		return keypackage.AnswerRefused
	case relayapi.Unexpected:
		return keypackage.AnswerUnexpected
	}
	return keypackage.AnswerUnclear
}
