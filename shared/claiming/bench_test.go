package claiming

import (
	"fmt"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// The decision alone: for one request as usual, for as many as one transaction combines, and at the end of the longest
// stock that is read.
func BenchmarkDecide(b *testing.B) {
	for _, size := range []struct{ units, documents int }{{1, 2}, {1, 6}, {combineUnits, combineUnits + 1}, {1, scanLimit}} {
		b.Run(fmt.Sprintf("%dunits,%ddocuments", size.units, size.documents), func(b *testing.B) {
			units, view, read := make([]Unit, size.units), nothingKnown(), whole(fresh(size.documents)...)
			for i := range units {
				requester := fmt.Sprintf("%064x", i)
				units[i] = ask(fmt.Sprint(i), 1, by(requester))
				view.Pairs[requester] = keypackage.Pair{}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decide(units, view, read, generous, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
