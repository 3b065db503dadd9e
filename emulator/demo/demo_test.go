package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func newAct(out *bytes.Buffer) *act {
	a := &act{script: script{title: "1. A test"}, System: System{Patience: time.Minute}, Printer: NewPrinter(out, false)}
	a.heading(a.title)
	return a
}

func TestTheStoryIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := newAct(&out)
	a.say("Bob publishes")
	a.clock("Alice asks")
	a.at(a.clocked.Add(1500*time.Microsecond), "Alice receives")
	a.saw("it verifies")
	a.ok = true
	if !a.summary([]*act{a}, 1, time.Second) {
		t.Error("not everything was seen")
	}
	for _, line := range []string{
		"1. A test\n", "              Bob publishes\n", "      +0.0 ms Alice asks\n", "      +1.5 ms Alice receives\n", "            ✓ it verifies\n",
		"     2 ms\n", "Everything promised was seen: 1 of 1 acts, 1 promises, in 1.0 s.",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, &out)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colors where none were wanted")
	}
}

func TestAFailedActFailsTheDemo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	failed, passed := newAct(&out), newAct(&out)
	failed.fail(errors.New("Alice holds nothing"))
	if failed.summary([]*act{failed}, 1, 0) || !strings.Contains(out.String(), "✗ Alice holds nothing") || !strings.Contains(out.String(), "Not everything") {
		t.Errorf("ok after a failure:\n%s", &out)
	}
	passed.ok = true
	if passed.summary([]*act{passed}, 4, 0) {
		t.Error("ok although three acts were not played")
	}
}

func TestAnInterruptIsNoFailure(t *testing.T) {
	t.Parallel()
	nowhere := System{Relay: "ws://127.0.0.1:9", Patience: time.Minute}
	for _, cause := range []error{context.Canceled, errors.New("a process has ended")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		var out bytes.Buffer
		ok, err := Play(ctx, nowhere, nowhere, NewPrinter(&out, false))
		if ok || !errors.Is(err, cause) {
			t.Errorf("Play = %v, %v; want %v", ok, err, cause)
		}
		if strings.Contains(out.String(), "✗") || strings.Contains(out.String(), "Summary") {
			t.Errorf("after %v a verdict is given:\n%s", cause, &out)
		}
	}
}

func TestAnActRunsOutOfPatience(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := newAct(&out)
	a.Patience = time.Nanosecond
	a.requesters, a.steps = alice, []step{func(_ *requester, ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	err := a.perform(t.Context())
	if err == nil || err.Error() != "Alice: gave up after 1ns" {
		t.Errorf("perform = %v", err)
	}
}

// promised returns a requester who is to get that, out of so many.
func promised(stocked int, due ...*nostr.Event) *requester {
	a := newAct(new(bytes.Buffer))
	a.stocked, a.wanted, a.published = stocked, len(due), due
	return &requester{act: a}
}

func TestKeyPackagesAreComparedWithWhatWasPublished(t *testing.T) {
	t.Parallel()
	events := []*nostr.Event{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	received := func(events ...*nostr.Event) (list []actors.KeyPackage) {
		for _, event := range events {
			list = append(list, actors.KeyPackage{Event: event, Raw: event.String()})
		}
		return list
	}
	changed := received(events[0], events[1])
	changed[1].Raw += " "
	tests := map[string]struct {
		received []actors.KeyPackage
		fails    bool
	}{
		"as promised":      {received(events[1], events[0]), false},
		"one twice":        {received(events[0], events[0]), true},
		"one too many":     {received(events...), true},
		"one out of order": {received(events[0], events[2]), true},
		"other bytes":      {changed, true},
		"none":             {nil, true},
	}
	for name, test := range tests {
		err := promised(3, events[:2]...).compare(test.received)
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOutcomesAreComparedWithWhatWasPromised(t *testing.T) {
	t.Parallel()
	one, other := &nostr.Event{ID: "one"}, &nostr.Event{ID: "other"}
	two, reserve := promised(3, one, other), promised(1, one)
	tests := map[string]struct {
		row   relayapi.OutcomeRow
		want  *requester
		fails bool
	}{
		"granted":              {told(2, false, "one", "other"), two, false},
		"reserve":              {told(1, true, "one"), reserve, false},
		"fewer granted":        {told(1, false, "one"), two, true},
		"reserve not marked":   {told(1, false, "one"), reserve, true},
		"marked without cause": {told(2, true, "one", "other"), two, true},
		"one not named":        {told(2, false, "one"), two, true},
		"another named":        {told(2, false, "one", "third"), two, true},
		"one too many named":   {told(2, false, "one", "other", "third"), two, true},
	}
	for name, test := range tests {
		err := test.want.compareOutcome([]relayapi.OutcomeRow{test.row})
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := two.compareOutcome(nil); err == nil {
		t.Error("no rows will do")
	}
}

func told(granted int, lastResort bool, ids ...string) relayapi.OutcomeRow {
	row := relayapi.OutcomeRow{Requested: granted, Granted: granted, LastResort: lastResort}
	for _, id := range ids {
		row.KeyPackages = append(row.KeyPackages, relayapi.Granted{ID: id, LastResort: lastResort})
	}
	return row
}
