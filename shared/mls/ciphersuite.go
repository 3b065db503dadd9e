package mls

import (
	"crypto"
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
// suites the lowest number is meant: "MLS_128_DHKEMX25519" is suite 1, which every implementation has, and not suite 3.
//
// A number need not be of a known suite; a name must be. For anything else, the empty string included, it returns 0 and false.
func ParseCiphersuite(s string) (Ciphersuite, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if strings.HasPrefix(s, "MLS_") {
		return ciphersuiteByName(s)
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

func ciphersuiteByName(name string) (Ciphersuite, bool) {
	const throughKEM = 2 // underscores in MLS_LVL_KEM
	if strings.Count(name, "_") < throughKEM {
		return 0, false
	}
	for c, suite := range suites {
		if strings.HasPrefix(strings.ToUpper(suite.name)+"_", name+"_") {
			return Ciphersuite(c), true
		}
	}
	return 0, false
}
