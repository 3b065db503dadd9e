package mls

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	_ "crypto/sha256" // makes crypto.SHA256 available
	_ "crypto/sha512" // and crypto.SHA384, crypto.SHA512
)

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
