package keypackage

import (
	"fmt"
	"reflect"
	"testing"
)

func TestAnnounce(t *testing.T) {
	t.Parallel()
	var many, ids []string
	for i := range mostAnnounced + 1 {
		many = append(many, DeliveryID("r", fmt.Sprint(i)))
		ids = append(ids, fmt.Sprint(i))
	}
	for name, test := range map[string]struct {
		answer Answer
		want   Announcement
	}{
		"a whole request": {Answer{Dismissal: &Dismissal{RequestID: "r", Outcome: OutcomeRejected}}, Announcement{RequestID: "r", Granted: map[string][]string{}}},
		"created and joined": {
			Answer{Claims: []Claim{
				{RequestID: "r", Owner: "bob", DeliveryIDs: []string{DeliveryID("r", "k1"), DeliveryID("earlier", "k2")}},
				{RequestID: "r", Owner: "carol"},
			}},
			Announcement{RequestID: "r", Granted: map[string][]string{"bob": {"k1"}, "carol": nil}},
		},
		"too many": {
			Answer{Claims: []Claim{{RequestID: "r", Owner: "bob", DeliveryIDs: many}}},
			Announcement{RequestID: "r", Granted: map[string][]string{"bob": ids[:mostAnnounced]}},
		},
	} {
		if got := NewAnnouncement(test.answer); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
