package keypackage_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func BenchmarkParseRequest(b *testing.B) {
	doc := request(b, p(bob.pubkey))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keypackage.ParseRequest(doc, maxMin); err != nil {
			b.Fatal(err)
		}
	}
}

// A package is read and verified whole: the event's id and signature, the KeyPackage's two.
func BenchmarkInspect(b *testing.B) {
	content := base64.StdEncoding.EncodeToString(keyPackage(b, 1, nil))
	id, doc := published(bob.sign(b, keypackage.KindKeyPackage, content))
	b.ReportAllocs()
	for b.Loop() {
		if p := keypackage.Inspect(id, doc, keypackage.PolicyStrict); p.Flaw != "" {
			b.Fatal(p.Flaw)
		}
	}
}

// The order of use and the reserves of a stock, as long as a claim ever reads.
func BenchmarkSelection(b *testing.B) {
	for _, n := range []int{6, 512} {
		b.Run(fmt.Sprintf("%ddocuments", n), func(b *testing.B) {
			stock := make([]*keypackage.Candidate, n)
			for i := range stock {
				stock[i] = &keypackage.Candidate{Package: keypackage.Package{
					ID: fmt.Sprintf("%064x", (i*7919)%n), Hash: fmt.Sprint(i), Suite: 1, CreatedAt: int64((i * 104729) % n), LastResort: i%10 == 0,
				}}
			}
			b.ReportAllocs()
			for b.Loop() {
				valid := keypackage.Distinct(keypackage.Current(stock))
				slices.SortFunc(valid, keypackage.CompareUse)
				if len(keypackage.Reserves(valid)) != 1 {
					b.Fatal("no reserve")
				}
			}
		})
	}
}

// What a claim does with a package that it reads and does not choose.
func BenchmarkRead(b *testing.B) {
	content := base64.StdEncoding.EncodeToString(keyPackage(b, 1, nil))
	id, doc := published(bob.sign(b, keypackage.KindKeyPackage, content))
	b.ReportAllocs()
	for b.Loop() {
		if p := keypackage.Read(id, doc, keypackage.PolicyStrict); p.Flaw != "" {
			b.Fatal(p.Flaw)
		}
	}
}
