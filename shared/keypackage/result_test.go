package keypackage_test

import (
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// What every result means: is it certain that nobody saw the package, is it pushed again, did the relay fail as a whole, is
// the message worth repeating, has somebody to look.
func TestPushResults(t *testing.T) {
	t.Parallel()
	type meaning struct{ unseen, parks, fails, retry, alert bool }
	for result, want := range map[keypackage.PushResult]meaning{
		keypackage.ResultDelivered:      {},
		keypackage.ResultNoSession:      {unseen: true},
		keypackage.ResultNoSubscription: {unseen: true},
		keypackage.ResultUnknownEvent:   {unseen: true, parks: true, alert: true},
		keypackage.ResultRejected:       {unseen: true, parks: true, alert: true},
		keypackage.ResultUnknown:        {},
		"":                              {},
		"a word of 2031":                {},
		keypackage.ResultNotSent:        {unseen: true, fails: true, retry: true},
		keypackage.ResultRefused:        {unseen: true, fails: true, retry: true},
		keypackage.ResultMisplaced:      {unseen: true, fails: true, alert: true},
		keypackage.ResultTooLarge:       {unseen: true, alert: true},
		keypackage.ResultUnclear:        {fails: true, retry: true},
		keypackage.ResultUnexpected:     {fails: true, alert: true},
	} {
		got := meaning{result.Unseen(), result.Parks(), result.Fails(), result.Retry(), result.Alert()}
		if got != want {
			t.Errorf("%q: %+v, want %+v", result, got, want)
		}
	}
}
