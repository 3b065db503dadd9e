package mls_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// spellings are ways to write bytes that one client or another uses, or that a decoder of theirs puts up with.
func spellings(b []byte) map[string]string {
	std := base64.StdEncoding.EncodeToString(b)
	return map[string]string{
		"hex":                 hex.EncodeToString(b),
		"capital hex":         strings.ToUpper(hex.EncodeToString(b)),
		"base64":              std,
		"base64, no padding":  strings.TrimRight(std, "="),
		"base64 for URLs":     base64.URLEncoding.EncodeToString(b),
		"base64, line breaks": std[:76] + "\r\n" + std[76:] + "\n",
	}
}

func TestOneIdentityInEverySpelling(t *testing.T) {
	t.Parallel()
	for _, suite := range []mls.Ciphersuite{1, 2, 5, 7} {
		inner := generate(t, suite, nil)
		want := hashOf(owner + string(inner))
		for _, b := range [][]byte{inner, mlsgen.Frame(inner)} {
			for name, content := range spellings(b) {
				got, err := mls.DecodeContent(content)
				if err != nil || !bytes.Equal(got, inner) {
					t.Errorf("suite %d, %s: DecodeContent found other bytes, error %v", suite, name, err)
				}
				if hash := mls.ContentHash(owner, content); hash != want {
					t.Errorf("suite %d, %s: ContentHash = %s, want %s", suite, name, hash, want)
				}
			}
		}
	}
}

func TestContentHashOfOpaqueContent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, content, bytes string }{
		{"hex before base64", "deadbeef", "\xde\xad\xbe\xef"},
		{"base64", "/////w==", "\xff\xff\xff\xff"},
		{"a frame stays", "0001000501", "\x00\x01\x00\x05\x01"},
		{"the string itself", "not a package!", "not a package!"},
		{"nothing", "", ""},
	} {
		if got, want := mls.ContentHash(owner, c.content), hashOf(owner+c.bytes); got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
}

func TestContentHashTellsOwnersApart(t *testing.T) {
	t.Parallel()
	content := hex.EncodeToString(generate(t, 1, nil))
	if mls.ContentHash(owner, content) == mls.ContentHash(strings.Repeat("ab", 32), content) {
		t.Error("two owners share a hash")
	}
}

// TestBareSuite5LooksFramed pins why four bytes do not decide.
func TestBareSuite5LooksFramed(t *testing.T) {
	t.Parallel()
	bare := generate(t, mls.P521AES256, nil)
	if !bytes.HasPrefix(bare, []byte{0, 1, 0, 5}) {
		t.Fatal("a bare package of suite 5 no longer begins like a frame")
	}
	if kp := decode(t, hex.EncodeToString(bare)); kp.Ciphersuite != mls.P521AES256 {
		t.Errorf("suite %v", kp.Ciphersuite)
	}
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
