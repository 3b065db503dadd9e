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
		records []Claim
		want    Announcement
	}{
		"a whole request": {[]Claim{{RequestID: "r", Status: StatusRejected}}, Announcement{RequestID: "r", Granted: map[string][]string{}}},
		"created and joined": {
			[]Claim{
				{RequestID: "r", Owner: "bob", DeliveryIDs: []string{DeliveryID("r", "k1"), DeliveryID("earlier", "k2")}},
				{RequestID: "r", Owner: "carol"},
			},
			Announcement{RequestID: "r", Granted: map[string][]string{"bob": {"k1"}, "carol": nil}},
		},
		"too many": {
			[]Claim{{RequestID: "r", Owner: "bob", DeliveryIDs: many}},
			Announcement{RequestID: "r", Granted: map[string][]string{"bob": ids[:mostAnnounced]}},
		},
	} {
		if got := NewAnnouncement(test.records); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
