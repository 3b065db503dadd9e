package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

const queueHost = "PUBSUB_EMULATOR_HOST"

// limit is how many letters are looked at in one go.
const limit = 1000

// entry is one dead letter.
type entry struct {
	Since      time.Time  `json:"since"`              // when it was given up
	Attempts   int        `json:"attempts,omitempty"` // to deliver it
	Request    string     `json:"request_event_id,omitempty"`
	Requester  string     `json:"requester_pubkey,omitempty"`
	Unreadable string     `json:"unreadable,omitempty"` // why it is no message, and never replayed; or which document cannot be read
	Deliveries []delivery `json:"deliveries"`           // that it asked for
	Replayed   bool       `json:"replayed"`
}

// delivery is how far a delivery is.
type delivery struct {
	ID         string                `json:"id"`
	State      keypackage.State      `json:"state"`
	LastResult keypackage.PushResult `json:"last_result,omitempty"` // of its pushes
	Reason     string                `json:"reason,omitempty"`      // how it expired
}

func deadLetters(ctx context.Context, o *options) error {
	if os.Getenv(emulatorHost) != "" && os.Getenv(queueHost) == "" {
		return errors.New(emulatorHost + " is set: set " + queueHost + " to the Pub/Sub emulator as well (127.0.0.1:8085 as a rule)")
	}
	entries, err := o.list(ctx)
	if err != nil && len(entries) == 0 {
		return err
	}
	return errors.Join(err, o.show(entries, func(w io.Writer) { printEntries(w, entries) }))
}

// list lists the dead letters in the subscription. With -replay it publishes each to the delivery topic again, and then removes
// it; of several with the same message one is published. Otherwise it leaves them where they are.
//
// A replay may be repeated and may come late: a message only says that what is pending should be delivered.
func (o *options) list(ctx context.Context) (entries []entry, err error) {
	subscription := cmp.Or(o.subscription, o.settings.DeliveryTopic+"-dead")
	letters, err := topic.NewDeadLetters(ctx, o.settings.Project, subscription)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	found, err := letters.Pull(ctx, limit)
	if err != nil {
		return nil, errors.Join(err, letters.GiveBack(context.WithoutCancel(ctx), found...))
	}
	entries = make([]entry, len(found))
	for i, letter := range found {
		err = errors.Join(err, o.describe(ctx, letter, &entries[i]))
	}
	if o.replay && err == nil {
		err = o.republish(ctx, found, entries)
	}
	replayed := map[bool][]topic.DeadLetter{}
	for i, letter := range found {
		replayed[entries[i].Replayed] = append(replayed[entries[i].Replayed], letter)
	}
	ctx = context.WithoutCancel(ctx)
	return entries, errors.Join(err, letters.Remove(ctx, replayed[true]...), letters.GiveBack(ctx, replayed[false]...))
}

// republish notes in the entries what it has replayed.
func (o *options) republish(ctx context.Context, letters []topic.DeadLetter, entries []entry) (err error) {
	publisher, err := topic.NewPublisher(ctx, o.settings.Project, o.settings.DeliveryTopic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	published := make(map[string]bool)
	for i, letter := range letters {
		about := cmp.Or(entries[i].Request, entries[i].Requester)
		if letter.Err == nil && !published[about] {
			publishErr := publisher.Publish(ctx, letter.Message)
			published[about], err = publishErr == nil, errors.Join(err, publishErr)
		}
		entries[i].Replayed = published[about]
	}
	return err
}

// describe says in the entry what the letter is, and how far the deliveries are that its message asks for.
func (o *options) describe(ctx context.Context, letter topic.DeadLetter, e *entry) error {
	request, requester := letter.Message.Request.RequestID, letter.Message.Requester
	*e = entry{Since: letter.Since, Attempts: letter.Attempts, Request: request, Requester: requester, Deliveries: []delivery{}}
	var deliveries []keypackage.StoredDelivery
	err := letter.Err
	if err == nil && requester != "" {
		deliveries, err = o.documents.OpenFor(ctx, requester, "", limit)
	} else if err == nil {
		var answer keypackage.Answer
		if answer, err = o.documents.Answer(ctx, request); err == nil {
			deliveries, err = o.documents.Deliveries(ctx, answer.Deliveries())
		}
	}
	if letter.Err != nil || errors.Is(err, keypackage.ErrUnreadable) {
		e.Unreadable, err = err.Error(), nil
	}
	for _, d := range deliveries {
		e.Deliveries = append(e.Deliveries, delivery{d.ID, d.State, d.LastResult, d.Reason})
	}
	return err
}

// printEntries writes one line for each delivery.
func printEntries(w io.Writer, entries []entry) {
	if len(entries) == 0 {
		fmt.Fprintln(w, "no dead letters")
		return
	}
	fmt.Fprintln(w, "given up\tattempts\tabout\tdelivery\tstate\tlast result\t")
	for _, e := range entries {
		begin, end := fmt.Sprintf("%s\t%d\t%s", e.Since.UTC().Format(time.RFC3339), e.Attempts, e.about()), ""
		if e.Replayed {
			end = "replayed"
		}
		if len(e.Deliveries) == 0 {
			fmt.Fprintf(w, "%s\tnone\t\t\t%s\n", begin, end)
		}
		for _, d := range e.Deliveries {
			state := string(d.State)
			if d.Reason != "" {
				state += " (" + d.Reason + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", begin, d.ID, state, d.LastResult, end)
			begin = "\t\t"
		}
	}
}

func (e entry) about() string {
	switch {
	case e.Unreadable != "":
		return "unreadable: " + e.Unreadable
	case e.Request != "":
		return "request " + e.Request
	}
	return "requester " + e.Requester
}
