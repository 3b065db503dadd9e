package mls

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	_ "crypto/sha256" // makes crypto.SHA256 available
	_ "crypto/sha512" // and crypto.SHA384, crypto.SHA512
	"fmt"
	"strconv"
	"strings"
)

// Ciphersuite is a value of the registry in RFC 9420 section 17.1.
type Ciphersuite uint16

// The ciphersuites of RFC 9420.
const (
	X25519AES128Ed25519 Ciphersuite = iota + 1
	P256AES128
	X25519ChaCha20Ed25519
	X448AES256Ed448
	P521AES256
	X448ChaCha20Ed448
	P384AES256
)

// suite is what a ciphersuite stands for: MLS_LVL_KEM_AEAD_HASH_SIG.
type suite struct {
	name string
	hash crypto.Hash
	family
}

// suites is indexed by the registered value.
var suites = [...]suite{
	X25519AES128Ed25519:   {"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", crypto.SHA256, curve25519},
	P256AES128:            {"MLS_128_DHKEMP256_AES128GCM_SHA256_P256", crypto.SHA256, curveP256},
	X25519ChaCha20Ed25519: {"MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", crypto.SHA256, curve25519},
	X448AES256Ed448:       {"MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448", crypto.SHA512, curve448},
	P521AES256:            {"MLS_256_DHKEMP521_AES256GCM_SHA512_P521", crypto.SHA512, curveP521},
	X448ChaCha20Ed448:     {"MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448", crypto.SHA512, curve448},
	P384AES256:            {"MLS_256_DHKEMP384_AES256GCM_SHA384_P384", crypto.SHA384, curveP384},
}

// known returns what c stands for, if RFC 9420 defines it.
func (c Ciphersuite) known() (*suite, bool) {
	if c == 0 || int(c) >= len(suites) {
		return nil, false
	}
	return &suites[c], true
}

// String is the name in RFC 9420, or "0x%04x" for a suite that is not defined there.
func (c Ciphersuite) String() string {
	if s, ok := c.known(); ok {
		return s.name
	}
	return fmt.Sprintf("0x%04x", uint16(c))
}

// ParseCiphersuite reads what clients write for a ciphersuite: "0x0001", "1", the name in RFC 9420, or the beginning of that
// name up to the KEM or any later component, in any case and with white space around it. Where a beginning fits several
// suites the lowest number is meant: "MLS_128_DHKEMX25519" is suite 1, which every implementation has, and not suite 3. A number
// need not be of a known suite; a name must be.
func ParseCiphersuite(s string) (Ciphersuite, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	for c, suite := range suites { // with the two underscores of MLS_LVL_KEM at least
		if strings.Count(s, "_") >= 2 && strings.HasPrefix(strings.ToUpper(suite.name)+"_", s+"_") {
			return Ciphersuite(c), true
		}
	}
	digits, base := s, 10
	if rest, ok := strings.CutPrefix(s, "0X"); ok {
		digits, base = rest, 16
	}
	n, err := strconv.ParseUint(digits, base, 16)
	if err != nil {
		return 0, false
	}
	return Ciphersuite(n), true
}

// family is the curves of a ciphersuite: one to encrypt to (RFC 9180 section 7.1), one to sign with (RFC 9420 section 5.1.1).
type family struct {
	encryptionKey func(key []byte) bool // tells whether bytes are a public key
	signatureKey  func(key []byte) bool
	// verify reports whether signature is key's over content. It is nil where the standard library lacks the algorithm.
	verify func(hash crypto.Hash, key, content, signature []byte) bool
}

var (
	curve25519 = family{x25519, hasLength(ed25519.PublicKeySize), verifyEd25519}
	curve448   = family{encryptionKey: hasLength(56), signatureKey: hasLength(57)}
	curveP256  = nist(elliptic.P256())
	curveP384  = nist(elliptic.P384())
	curveP521  = nist(elliptic.P521())
)

func hasLength(n int) func([]byte) bool { return func(key []byte) bool { return len(key) == n } }

// anyScalar serves to probe X25519 keys; every 32 bytes are a private key.
var anyScalar, _ = ecdh.X25519().NewPrivateKey(make([]byte, 32))

// x25519 refuses, besides wrong lengths, the points of low order: the shared secret with them is zero whatever the private
// key, so RFC 9180 section 7.1.4 has every sender fail on them.
func x25519(key []byte) bool {
	public, err := ecdh.X25519().NewPublicKey(key)
	if err == nil {
		_, err = anyScalar.ECDH(public)
	}
	return err == nil
}

func verifyEd25519(_ crypto.Hash, key, content, signature []byte) bool {
	return ed25519.Verify(key, content, signature)
}

// nist takes keys as uncompressed points on the curve, and signatures in DER.
func nist(curve elliptic.Curve) family {
	onCurve := func(key []byte) bool {
		_, err := ecdsa.ParseUncompressedPublicKey(curve, key)
		return err == nil
	}
	return family{onCurve, onCurve, func(hash crypto.Hash, key, content, signature []byte) bool {
		public, err := ecdsa.ParseUncompressedPublicKey(curve, key)
		return err == nil && ecdsa.VerifyASN1(public, sum(hash, content), signature)
	}}
}

func sum(hash crypto.Hash, b []byte) []byte {
	h := hash.New()
	h.Write(b)
	return h.Sum(nil)
}
