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
	return &act{system: &System{Patience: time.Minute}, log: NewPrinter(out, false).begin("1. A test")}
}

func TestTheStoryIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := newAct(&out)
	a.log.say("Bob publishes")
	a.log.clock("Alice asks")
	a.log.at(a.log.clocked.Add(1500*time.Microsecond), "Alice receives")
	a.log.saw("it verifies")
	a.log.ok = true
	if !a.log.summary([]*actLog{a.log}, 1, time.Second) {
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
	failed, passed := newAct(&out).log, newAct(&out).log
	failed.fail(errors.New("Alice holds nothing"))
	if failed.summary([]*actLog{failed}, 1, 0) || !strings.Contains(out.String(), "✗ Alice holds nothing") || !strings.Contains(out.String(), "Not everything") {
		t.Errorf("ok after a failure:\n%s", &out)
	}
	passed.ok = true
	if passed.summary([]*actLog{passed}, 4, 0) {
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
	a.system.Patience = time.Nanosecond
	err := a.perform(t.Context(), func(ctx context.Context, _ *act) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err == nil || err.Error() != "gave up after 1ns" {
		t.Errorf("perform = %v", err)
	}
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
		err := newAct(new(bytes.Buffer)).compare(test.received, events[:2])
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOutcomesAreComparedWithWhatWasPromised(t *testing.T) {
	t.Parallel()
	one, other := &nostr.Event{ID: "one"}, &nostr.Event{ID: "other"}
	two, reserve := answer{keyPackages: []*nostr.Event{one, other}}, answer{keyPackages: []*nostr.Event{one}, lastResort: true}
	tests := map[string]struct {
		row   relayapi.OutcomeRow
		want  answer
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
		err := newAct(new(bytes.Buffer)).compareOutcome([]relayapi.OutcomeRow{test.row}, test.want)
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := newAct(new(bytes.Buffer)).compareOutcome(nil, two); err == nil {
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
