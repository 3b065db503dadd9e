package mlsgen_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

var owner = strings.Repeat("b0", 32)

func TestEverySuiteVerifies(t *testing.T) {
	t.Parallel()
	for _, suite := range []mls.Ciphersuite{0, 1, 2, 3, 5, 7} {
		b, err := mlsgen.New(mlsgen.Options{Owner: owner, Ciphersuite: suite, LastResort: suite == 2})
		if err != nil {
			t.Fatalf("suite %d: %v", suite, err)
		}
		kp, err := mls.Parse(b)
		if err != nil {
			t.Fatalf("suite %d: %v", suite, err)
		}
		if err := mls.Verify(kp, owner); err != nil {
			t.Errorf("suite %d: %v", suite, err)
		}
		if err := kp.LeafNode.Lifetime.Current(time.Now()); err != nil {
			t.Errorf("suite %d: %v", suite, err)
		}
		if kp.LastResort() != (suite == 2) {
			t.Errorf("suite %d: LastResort() = %v", suite, kp.LastResort())
		}
	}
}

func TestSameRandomnessMakesSamePackage(t *testing.T) {
	t.Parallel()
	for _, suite := range []mls.Ciphersuite{1, 2, 5} {
		generate := func(seed byte) []byte {
			b, err := mlsgen.New(mlsgen.Options{
				Owner: owner, Ciphersuite: suite, NotBefore: time.Unix(1_795_000_000, 0),
				Rand: rand.NewChaCha8([32]byte{seed}),
			})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		if !bytes.Equal(generate(1), generate(1)) {
			t.Errorf("suite %d: the same seed made two packages", suite)
		}
		if bytes.Equal(generate(1), generate(2)) {
			t.Errorf("suite %d: two seeds made the same package", suite)
		}
	}
}

func TestFrameIsRecognised(t *testing.T) {
	t.Parallel()
	b, err := mlsgen.New(mlsgen.Options{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	got, err := mls.DecodeContent(hex.EncodeToString(mlsgen.Frame(b)))
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("DecodeContent(framed) = %x, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]mlsgen.Options{
		"short owner":   {Owner: "b0"},
		"owner no hex":  {Owner: strings.Repeat("zz", 32)},
		"Ed448 suite":   {Owner: owner, Ciphersuite: mls.X448AES256Ed448},
		"no randomness": {Owner: owner, Rand: strings.NewReader("")},
	} {
		if _, err := mlsgen.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
