package mls_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

func BenchmarkDecodeContent(b *testing.B) {
	content := base64.StdEncoding.EncodeToString(generate(b, 1, nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mls.DecodeContent(content); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	encoded := generate(b, 1, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mls.Parse(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, suite := range []mls.Ciphersuite{1, 2, 5, 7} {
		b.Run(fmt.Sprintf("suite%d", suite), func(b *testing.B) {
			kp, err := mls.Parse(generate(b, suite, nil))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := mls.Verify(kp, owner); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
