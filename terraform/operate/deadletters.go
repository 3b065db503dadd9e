package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// handleDeadLetters lists the messages that could not be delivered, and replays them if told to.
func handleDeadLetters(ctx context.Context, args []string) error {
	o := newOptions("deadletters")
	replay := o.Bool("replay", false, "publish them to the delivery topic again, and remove them")
	subscription := o.String("subscription", "", "`id` of the subscription of the dead letters (default: that of the delivery topic with -dead behind)")
	if err := command.Parse(o.FlagSet, args); err != nil {
		return err
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	if os.Getenv(emulatorHost) != "" && os.Getenv(queueHost) == "" {
		return errors.New(emulatorHost + " is set: set " + queueHost + " to the Pub/Sub emulator as well (127.0.0.1:8085 as a rule)")
	}
	entries, err := Handle(ctx, settings, cmp.Or(*subscription, settings.DeliveryTopic+"-dead"), *replay)
	if err != nil && len(entries) == 0 {
		return err
	}
	return errors.Join(err, o.show(entries, func(w io.Writer) error { return Print(w, entries) }))
}

// Limit is how many letters are looked at in one go.
const Limit = 1000

// Entry is one dead letter.
type Entry struct {
	Since      time.Time  `json:"since"`              // when it was given up
	Attempts   int        `json:"attempts,omitempty"` // to deliver it
	Request    string     `json:"request_event_id,omitempty"`
	Requester  string     `json:"requester_pubkey,omitempty"`
	Unreadable string     `json:"unreadable,omitempty"` // why it is no message, and never replayed; or which document cannot be read
	Deliveries []Delivery `json:"deliveries"`           // that it asked for
	Replayed   bool       `json:"replayed"`
}

// Delivery is how far a delivery is.
type Delivery struct {
	ID         string                `json:"id"`
	State      keypackage.State      `json:"state"`
	LastResult keypackage.PushResult `json:"last_result,omitempty"` // of its pushes
	Reason     string                `json:"reason,omitempty"`      // how it expired
}

// Handle lists the dead letters in the subscription. With replay it publishes each to the delivery topic again, and then
// removes it; of several with the same message one is published. Otherwise it leaves them where they are.
//
// A replay may be repeated and may come late: a message only says that what is pending should be delivered, and what has
// been delivered or has expired is not pending.
func Handle(ctx context.Context, settings config.Config, subscription string, replay bool) (entries []Entry, err error) {
	letters, err := topic.NewDeadLetters(ctx, settings.Project, subscription)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	documents, err := assembly.Store(ctx, settings)
	if err != nil {
		return nil, err
	}
	found, err := letters.Pull(ctx, Limit)
	if err != nil {
		return nil, errors.Join(err, letters.GiveBack(context.WithoutCancel(ctx), found...))
	}
	entries = make([]Entry, 0, len(found))
	for _, letter := range found {
		entry, describeErr := describe(ctx, documents, letter)
		entries, err = append(entries, entry), errors.Join(err, describeErr)
	}
	if !replay || err != nil {
		return entries, errors.Join(err, letters.GiveBack(context.WithoutCancel(ctx), found...))
	}
	return entries, republish(ctx, settings, letters, found, entries)
}

// republish notes in the entries what it has replayed.
func republish(
	ctx context.Context, settings config.Config, letters *topic.DeadLetters, found []topic.DeadLetter, entries []Entry,
) (err error) {
	publisher, err := topic.NewPublisher(ctx, settings.Project, settings.DeliveryTopic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	published := make(map[string]bool)
	var done, left []topic.DeadLetter
	for i, letter := range found {
		key := cmp.Or(letter.Message.Request.RequestID, letter.Message.Requester)
		if letter.Err == nil && !published[key] {
			publishErr := publisher.Publish(ctx, letter.Message)
			published[key], err = publishErr == nil, errors.Join(err, publishErr)
		}
		if entries[i].Replayed = published[key]; entries[i].Replayed {
			done = append(done, letter)
		} else {
			left = append(left, letter)
		}
	}
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, letters.Remove(ctx, done...), letters.GiveBack(ctx, left...))
}

func describe(ctx context.Context, documents *store.Store, letter topic.DeadLetter) (Entry, error) {
	entry := Entry{
		Since: letter.Since, Attempts: letter.Attempts, Deliveries: []Delivery{},
		Request: letter.Message.Request.RequestID, Requester: letter.Message.Requester,
	}
	if letter.Err != nil {
		entry.Unreadable = letter.Err.Error()
		return entry, nil
	}
	deliveries, err := asked(ctx, documents, letter.Message)
	if errors.Is(err, keypackage.ErrUnreadable) {
		entry.Unreadable, err = err.Error(), nil
	}
	for _, d := range deliveries {
		entry.Deliveries = append(entry.Deliveries, Delivery{d.ID, d.State, d.LastResult, d.Reason})
	}
	return entry, err
}

// asked returns the deliveries that a message asks for.
func asked(ctx context.Context, documents *store.Store, message topic.Message) ([]keypackage.StoredDelivery, error) {
	if message.Requester != "" {
		return documents.OpenFor(ctx, message.Requester, "", Limit)
	}
	answer, err := documents.Answer(ctx, message.Request.RequestID)
	if err != nil {
		return nil, err
	}
	return documents.Deliveries(ctx, answer.Deliveries())
}

// Print writes the entries as a table, one line for each delivery.
func Print(w io.Writer, entries []Entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "given up\tattempts\tabout\tdelivery\tstate\tlast result\t")
	for _, e := range entries {
		begin, end := fmt.Sprintf("%s\t%d\t%s", e.Since.UTC().Format(time.RFC3339), e.Attempts, e.about()), ""
		if e.Replayed {
			end = "replayed"
		}
		if len(e.Deliveries) == 0 {
			fmt.Fprintf(table, "%s\tnone\t\t\t%s\n", begin, end)
		}
		for _, d := range e.Deliveries {
			state := string(d.State)
			if d.Reason != "" {
				state += " (" + d.Reason + ")"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", begin, d.ID, state, d.LastResult, end)
			begin = "\t\t"
		}
	}
	return table.Flush()
}

func (e Entry) about() string {
	switch {
	case e.Unreadable != "":
		return "unreadable: " + e.Unreadable
	case e.Request != "":
		return "request " + e.Request
	}
	return "requester " + e.Requester
}
