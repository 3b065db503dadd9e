package topic_test

import (
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

func BenchmarkDecodePush(b *testing.B) {
	body := envelope(request)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := topic.Decode(push(body)); err != nil {
			b.Fatal(err)
		}
	}
}
