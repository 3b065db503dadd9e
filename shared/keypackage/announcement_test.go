package keypackage

import (
	"fmt"
	"reflect"
	"testing"
)

func TestAnnounce(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range mostAnnounced + 1 {
		many = append(many, DeliveryID("r", fmt.Sprint(i)))
	}
	for name, test := range map[string]struct {
		records []Claim
		want    Announcement
	}{
		"a whole request": {[]Claim{{RequestID: "r", Status: StatusRejected}}, Announcement{RequestID: "r"}},
		"created and joined": {
			[]Claim{
				{RequestID: "r", Owner: "bob", DeliveryIDs: []string{DeliveryID("r", "k1"), DeliveryID("earlier", "k2")}},
				{RequestID: "r", Owner: "carol"},
			},
			Announcement{RequestID: "r", Owners: []string{"bob", "carol"}, Packages: []string{"k1"}},
		},
		"too many": {
			[]Claim{{RequestID: "r", Owner: "bob", DeliveryIDs: many}}, Announcement{RequestID: "r", Owners: []string{"bob"}},
		},
	} {
		if got := NewAnnouncement(test.records); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
