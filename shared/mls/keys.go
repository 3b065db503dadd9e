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

// keyFormat tells whether bytes are a public key that one can encrypt to.
type keyFormat func(key []byte) bool

// signatureScheme verifies signatures.
type signatureScheme struct {
	// verify reports whether signature is key's over content. It is nil where the standard library lacks the algorithm.
	verify func(key, content, signature []byte) bool
	// validKey tells whether bytes are a public key of the scheme.
	validKey keyFormat
}

// Public keys, RFC 9180 section 7.1: NIST points are uncompressed and on the curve.
var (
	p256 = onCurve(elliptic.P256())
	p384 = onCurve(elliptic.P384())
	p521 = onCurve(elliptic.P521())
	x448 = hasLength(56)
)

// Signature schemes, RFC 9420 sections 5.1.1 and 5.1.2.
var (
	ed25519Scheme = signatureScheme{
		verify:   func(key, content, signature []byte) bool { return ed25519.Verify(key, content, signature) },
		validKey: hasLength(ed25519.PublicKeySize),
	}
	ed448Scheme = signatureScheme{validKey: hasLength(57)}
	ecdsaP256   = ecdsaScheme(elliptic.P256(), p256, crypto.SHA256)
	ecdsaP384   = ecdsaScheme(elliptic.P384(), p384, crypto.SHA384)
	ecdsaP521   = ecdsaScheme(elliptic.P521(), p521, crypto.SHA512)
)

func hasLength(n int) keyFormat { return func(key []byte) bool { return len(key) == n } }

func onCurve(curve elliptic.Curve) keyFormat {
	return func(key []byte) bool {
		_, err := ecdsa.ParseUncompressedPublicKey(curve, key)
		return err == nil
	}
}

// anyScalar serves to probe X25519 keys; every 32 bytes are a private key.
var anyScalar, _ = ecdh.X25519().NewPrivateKey(make([]byte, 32))

// x25519 refuses, besides wrong lengths, the points of low order: the shared secret with them is zero whatever the private
// key, so RFC 9180 section 7.1.4 has every sender fail on them.
func x25519(key []byte) bool {
	public, err := ecdh.X25519().NewPublicKey(key)
	if err != nil {
		return false
	}
	_, err = anyScalar.ECDH(public)
	return err == nil
}

func sum(hash crypto.Hash, b []byte) []byte {
	h := hash.New()
	h.Write(b)
	return h.Sum(nil)
}

// ecdsaScheme takes keys as uncompressed points and signatures in DER.
func ecdsaScheme(curve elliptic.Curve, validKey keyFormat, hash crypto.Hash) signatureScheme {
	verify := func(key, content, signature []byte) bool {
		public, err := ecdsa.ParseUncompressedPublicKey(curve, key)
		return err == nil && ecdsa.VerifyASN1(public, sum(hash, content), signature)
	}
	return signatureScheme{verify, validKey}
}
