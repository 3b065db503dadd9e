package mls_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// FuzzParse feeds bytes to everything that reads a package. What parses must encode to the same bytes.
func FuzzParse(f *testing.F) {
	for _, s := range readSpecimens(f) {
		inner, err := mls.DecodeContent(s.Content)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(inner)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kp, err := mls.Parse(b)
		if err != nil {
			return
		}
		if got := kp.Marshal(); !bytes.Equal(got, b) {
			t.Errorf("parsed %x, marshalled %x", b, got)
		}
		kp.LastResort()
		if err := mls.Verify(kp, owner); err == nil && kp.Ref() == nil {
			t.Error("verified, but without a reference")
		}
	})
}

// FuzzDecodeContent feeds text. Whatever package is found must be found again, with the same hash, in every encoding of it.
func FuzzDecodeContent(f *testing.F) {
	for _, s := range readSpecimens(f) {
		f.Add(s.Content)
	}
	f.Add("deadbeef")
	f.Add("not a package!")
	f.Fuzz(func(t *testing.T, content string) {
		hash := mls.ContentHash(owner, content)
		inner, err := mls.DecodeContent(content)
		if err != nil {
			return
		}
		for _, b := range [][]byte{inner, mlsgen.Frame(inner)} {
			for _, again := range []string{hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b)} {
				if got, err := mls.DecodeContent(again); err != nil || !bytes.Equal(got, inner) {
					t.Errorf("%q: found %x, %v; want %x", again, got, err, inner)
				}
				if got := mls.ContentHash(owner, again); got != hash {
					t.Errorf("%q: hash %s, want %s", again, got, hash)
				}
			}
		}
	})
}
