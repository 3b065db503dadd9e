package mls_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

const owner = "10e0852dc6a753a1103fb7b2a5beceb32ea27f88904f561a3827048dbd69617e"

var now = time.Unix(1_795_000_000, 0)

// specimen is one KeyPackage, as the content of an event, with what must be found in it.
type specimen struct {
	Name        string
	Content     string
	Verdict     mls.Reason // of DecodeContent or Verify; empty for a good package
	Ciphersuite mls.Ciphersuite
	Ref         string
	LastResort  bool       `json:"last_resort"`
	Current     mls.Reason // of Lifetime.Current
}

// TestVerdictsOnTSMLS judges packages that another implementation made, see testdata/generate.mjs.
func TestVerdictsOnTSMLS(t *testing.T) {
	t.Parallel()
	for _, s := range readSpecimens(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			kp := decode(t, s.Content)
			checkReason(t, "Verify", mls.Verify(kp, owner), s.Verdict)
			checkReason(t, "Current", kp.LeafNode.Lifetime.Current(now), s.Current)
			if kp.Ciphersuite != s.Ciphersuite {
				t.Errorf("suite %v, want %v", kp.Ciphersuite, s.Ciphersuite)
			}
			if ref := hex.EncodeToString(kp.Ref()); ref != s.Ref {
				t.Errorf("ref %s, want %s", ref, s.Ref)
			}
			if kp.LastResort() != s.LastResort {
				t.Errorf("LastResort() = %v", kp.LastResort())
			}
		})
	}
}

// TestVerdictsOnEditedPackages judges packages that are signed after a change, so that nothing but the change is wrong.
func TestVerdictsOnEditedPackages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		suite   mls.Ciphersuite
		edit    func(*mls.KeyPackage)
		verdict mls.Reason
	}{
		{"untouched", 1, func(*mls.KeyPackage) {}, ""},
		{"untouched suite 2", 2, func(*mls.KeyPackage) {}, ""},
		{"untouched suite 5", 5, func(*mls.KeyPackage) {}, ""},
		{"untouched suite 7", 7, func(*mls.KeyPackage) {}, ""},
		{"version not listed", 1, func(kp *mls.KeyPackage) { kp.LeafNode.Capabilities.Versions = nil }, mls.ErrCapabilities},
		{"leaf of an update", 1, func(kp *mls.KeyPackage) { kp.LeafNode.Source = mls.SourceUpdate }, mls.ErrLeafNodeSource},
		{"leaf of a commit", 1, func(kp *mls.KeyPackage) { kp.LeafNode.Source = mls.SourceCommit }, mls.ErrLeafNodeSource},
		{"suite of the future", 1, setSuite(0x004d), mls.ErrCiphersuite},
		{"suite 0", 1, setSuite(0), mls.ErrCiphersuite},
		{"suite 2 with keys of suite 1", 1, setSuite(2), mls.ErrPublicKey},
		{"X25519 init key zero", 1, func(kp *mls.KeyPackage) { kp.InitKey = make([]byte, 32) }, mls.ErrPublicKey},
		{"X25519 init key too short", 1, func(kp *mls.KeyPackage) { kp.InitKey = kp.InitKey[1:] }, mls.ErrPublicKey},
		{"X25519 encryption key too long", 3, func(kp *mls.KeyPackage) {
			kp.LeafNode.EncryptionKey = append(kp.LeafNode.EncryptionKey, 0)
		}, mls.ErrPublicKey},
		{"P-256 init key off the curve", 2, func(kp *mls.KeyPackage) { kp.InitKey[64] ^= 1 }, mls.ErrPublicKey},
		{"P-521 signature key off the curve", 5, func(kp *mls.KeyPackage) { kp.LeafNode.SignatureKey[132] ^= 1 }, mls.ErrPublicKey},
		{"Ed25519 key of another", 1, func(kp *mls.KeyPackage) { kp.LeafNode.SignatureKey[0] ^= 1 }, mls.ErrLeafSignature},
		{"grease in the capabilities", 1, func(kp *mls.KeyPackage) {
			kp.LeafNode.Capabilities.Proposals = []uint16{0x3a3a}
			kp.LeafNode.Capabilities.Credentials = append(kp.LeafNode.Capabilities.Credentials, 0x5a5a)
		}, ""},
		{"credential type not listed", 1, func(kp *mls.KeyPackage) { kp.LeafNode.Capabilities.Credentials = nil }, mls.ErrCapabilities},
		{"identity in capital hex text", 1, setIdentity(strings.ToUpper(owner)), mls.ErrIdentityHex},
		{"identity with a byte more", 1, func(kp *mls.KeyPackage) {
			kp.LeafNode.Credential.Data = append(kp.LeafNode.Credential.Data, 0)
		}, mls.ErrIdentity},
		{"lifetime of no length", 1, setLifetime(1000, 1000), ""},
		{"lifetime that wraps around", 1, setLifetime(1<<64-1, 100), mls.ErrLifetimeLength},
		{"unknown extension, listed", 1, func(kp *mls.KeyPackage) {
			kp.Extensions = []mls.Extension{{Type: 0xf2ee, Data: []byte("opaque")}}
		}, ""},
		{"unknown extension, not listed", 1, func(kp *mls.KeyPackage) {
			kp.Extensions = []mls.Extension{{Type: 0xf00d}}
		}, mls.ErrCapabilities},
		{"dictionary that is none", 1, setDictionary(9, 9, 9), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kp, err := mls.Parse(generate(t, c.suite, c.edit))
			if err != nil {
				t.Fatal(err)
			}
			checkReason(t, "Verify", mls.Verify(kp, owner), c.verdict)
		})
	}
}

// TestVerdictsOnContent is about what is no KeyPackage at all.
func TestVerdictsOnContent(t *testing.T) {
	t.Parallel()
	good := generate(t, 1, nil)
	ofSuite5 := generate(t, 5, nil)
	huge := generate(t, 1, func(kp *mls.KeyPackage) {
		kp.Extensions = []mls.Extension{{Type: 0xf2ee, Data: make([]byte, mls.MaxSize)}}
	})
	noInitKey := generate(t, 1, func(kp *mls.KeyPackage) { kp.InitKey = nil })
	otherCredential := generate(t, 1, func(kp *mls.KeyPackage) { kp.LeafNode.Credential.Type = 3 })
	otherSource := generate(t, 1, func(kp *mls.KeyPackage) { kp.LeafNode.Source = 4 })
	twice := generate(t, 1, func(kp *mls.KeyPackage) {
		kp.Extensions = []mls.Extension{{Type: 0xf2ee}, {Type: 0xf2ee, Data: []byte{1}}}
	})
	for _, c := range []struct {
		name    string
		content string
		verdict mls.Reason
	}{
		{"nothing", "", mls.ErrMalformed},
		{"words", "not a package!", mls.ErrEncoding},
		{"json", `{"keyPackage":1}`, mls.ErrEncoding},
		{"hex and base64 of nothing sensible", "deadbeef", mls.ErrMalformed},
		{"hex of odd length that is base64", "abc", mls.ErrMalformed},
		{"truncated", hex.EncodeToString(good[:len(good)-1]), mls.ErrMalformed},
		{"one byte more", hex.EncodeToString(append(good[:len(good):len(good)], 0)), mls.ErrMalformed},
		{"two in one", hex.EncodeToString(append(good[:len(good):len(good)], good...)), mls.ErrMalformed},
		{"framed twice", hex.EncodeToString(mlsgen.Frame(mlsgen.Frame(good))), mls.ErrMalformed},
		{"framed as a Welcome", hex.EncodeToString(append([]byte{0, 1, 0, 3}, good...)), mls.ErrMalformed},
		{"frame around nothing", "00010005", mls.ErrMalformed},
		{"suite 5 truncated", hex.EncodeToString(ofSuite5[:200]), mls.ErrMalformed},
		{"too large", base64.StdEncoding.EncodeToString(huge), mls.ErrTooLarge},
		{"extension twice", hex.EncodeToString(twice), mls.ErrMalformed},
		{"version 2", hex.EncodeToString(generate(t, 1, setVersion(2))), mls.ErrVersion},
		{"version 2 framed", hex.EncodeToString(mlsgen.Frame(generate(t, 1, setVersion(2)))), mls.ErrMalformed},
		{"empty init key", hex.EncodeToString(noInitKey), mls.ErrMalformed},
		{"unknown credential type", hex.EncodeToString(otherCredential), mls.ErrMalformed},
		{"unknown leaf source", hex.EncodeToString(otherSource), mls.ErrMalformed},
		{"length in two bytes that fits one", hex.EncodeToString(lengthen(good, 0x40)), mls.ErrMalformed},
		{"length in eight bytes", hex.EncodeToString(lengthen(good, 0xc0)), mls.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := mls.DecodeContent(c.content)
			checkReason(t, "DecodeContent", err, c.verdict)
		})
	}
}

// TestNoByteIsFree flips a bit of each byte of a good package: structure, checks and signatures leave no byte out.
func TestNoByteIsFree(t *testing.T) {
	t.Parallel()
	for _, suite := range []mls.Ciphersuite{1, 2} {
		good := generate(t, suite, nil)
		for i := range good {
			flipped := bytes.Clone(good)
			flipped[i] ^= 1 << (i % 8)
			if kp, err := mls.Parse(flipped); err == nil && mls.Verify(kp, owner) == nil {
				t.Errorf("suite %d: accepted with a changed byte at %d", suite, i)
			}
		}
	}
}

func checkReason(t *testing.T, what string, err error, want mls.Reason) {
	t.Helper()
	var got mls.Reason
	if err != nil && !errors.As(err, &got) {
		t.Fatalf("%s: error without a reason: %v", what, err)
	}
	if got != want {
		t.Errorf("%s: reason %q, want %q", what, got, want)
	}
}

func decode(t testing.TB, content string) *mls.KeyPackage {
	t.Helper()
	kp, err := mls.ParseContent(content)
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func readSpecimens(t testing.TB) []specimen {
	t.Helper()
	b, err := os.ReadFile("testdata/ts-mls.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Packages []specimen }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Packages
}

func generate(t testing.TB, suite mls.Ciphersuite, edit func(*mls.KeyPackage)) []byte {
	t.Helper()
	b, err := mlsgen.New(mlsgen.Options{Owner: owner, Ciphersuite: suite, NotBefore: now.Add(-time.Hour), Edit: edit})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lengthen replaces the one-byte length of the init key by one of two bytes that begins with the given prefix.
func lengthen(b []byte, prefix byte) []byte {
	const at = 4
	longer := append([]byte(nil), b[:at]...)
	longer = append(longer, prefix, b[at])
	return append(longer, b[at+1:]...)
}

func setVersion(v uint16) func(*mls.KeyPackage) {
	return func(kp *mls.KeyPackage) { kp.Version = v }
}

func setSuite(c mls.Ciphersuite) func(*mls.KeyPackage) {
	return func(kp *mls.KeyPackage) {
		kp.Ciphersuite = c
		kp.LeafNode.Capabilities.Ciphersuites = []mls.Ciphersuite{c}
	}
}

func setIdentity(identity string) func(*mls.KeyPackage) {
	return func(kp *mls.KeyPackage) { kp.LeafNode.Credential.Data = []byte(identity) }
}

func setLifetime(notBefore, notAfter uint64) func(*mls.KeyPackage) {
	return func(kp *mls.KeyPackage) {
		kp.LeafNode.Lifetime = mls.Lifetime{NotBefore: notBefore, NotAfter: notAfter}
	}
}

func setDictionary(data ...byte) func(*mls.KeyPackage) {
	return func(kp *mls.KeyPackage) {
		kp.Extensions = []mls.Extension{{Type: mls.ExtensionAppDataDictionary, Data: data}}
	}
}
