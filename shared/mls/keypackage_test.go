package mls_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

func TestMarshalGivesBackWhatWasParsed(t *testing.T) {
	t.Parallel()
	for _, s := range readSpecimens(t) {
		inner, err := mls.DecodeContent(s.Content)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if got := decode(t, s.Content).Marshal(); !bytes.Equal(got, inner) {
			t.Errorf("%s: Marshal changed the bytes", s.Name)
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	t.Parallel()
	good := generate(t, 1, nil)
	for n := range good {
		if _, err := mls.Parse(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes parse", n, len(good))
		}
	}
}

func TestLastResort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(*mls.KeyPackage)
		want bool
	}{
		{"unmarked", nil, false},
		{"extension", func(kp *mls.KeyPackage) { kp.Extensions = []mls.Extension{{Type: mls.ExtensionLastResort}} }, true},
		{"extension of the leaf only", func(kp *mls.KeyPackage) {
			kp.LeafNode.Extensions = []mls.Extension{{Type: mls.ExtensionLastResort}}
		}, false},
		{"component", setDictionary(3, 0, 4, 0), true},
		{"component among others", setDictionary(11, 0, 1, 1, 7, 0, 4, 0, 0x90, 1, 1, 9), true},
		{"other components only", setDictionary(3, 0, 5, 0), false},
		{"the number 4 as another's data", setDictionary(7, 0, 1, 4, 0, 4, 0, 0), false},
		{"empty dictionary", setDictionary(0), false},
		{"components out of order", setDictionary(6, 0, 5, 0, 0, 4, 0), false},
		{"component twice", setDictionary(6, 0, 4, 0, 0, 4, 0), false},
		{"dictionary cut off", setDictionary(4, 0, 4, 0), false},
		{"32-bit component ids of drafts before -09", setDictionary(5, 0, 0, 0, 4, 0), false},
	} {
		kp, err := mls.Parse(generate(t, 1, c.edit))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if kp.LastResort() != c.want {
			t.Errorf("%s: LastResort() = %v", c.name, kp.LastResort())
		}
	}
}

func TestRefOfUnknownSuite(t *testing.T) {
	t.Parallel()
	kp, err := mls.Parse(generate(t, 1, setSuite(0x4d)))
	if err != nil {
		t.Fatal(err)
	}
	if ref := kp.Ref(); ref != nil {
		t.Errorf("Ref() = %x for a suite whose hash nobody knows", ref)
	}
}

func TestLifetimeCurrent(t *testing.T) {
	t.Parallel()
	l := mls.Lifetime{NotBefore: 1000, NotAfter: 2000}
	for _, c := range []struct {
		at   int64
		want mls.Reason
	}{
		{-5, mls.ErrNotBegun}, {999, mls.ErrNotBegun}, {1000, ""}, {1999, ""}, {2000, mls.ErrExpired}, {1 << 40, mls.ErrExpired},
	} {
		checkReason(t, "Current", l.Current(time.Unix(c.at, 999_999_999)), c.want)
	}
}

func TestLifetimeEnd(t *testing.T) {
	t.Parallel()
	for notAfter, want := range map[uint64]int64{0: 0, 2000: 2000, 253402300800: 253402300799, math.MaxUint64: 253402300799} {
		if got := (mls.Lifetime{NotAfter: notAfter}).End().Unix(); got != want {
			t.Errorf("End() of %d = %d, want %d", notAfter, got, want)
		}
	}
}
