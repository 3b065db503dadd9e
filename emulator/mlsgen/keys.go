package mlsgen

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	_ "crypto/sha256" // makes crypto.SHA256 available
	_ "crypto/sha512" // and crypto.SHA384, crypto.SHA512
	"io"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// algorithms are those of a ciphersuite.
type algorithms struct {
	kem   hpke.KEM
	curve elliptic.Curve // of ECDSA; nil is Ed25519
	hash  crypto.Hash    // of ECDSA
}

var suites = map[mls.Ciphersuite]algorithms{
	mls.X25519AES128Ed25519:   {kem: hpke.DHKEM(ecdh.X25519())},
	mls.P256AES128:            {hpke.DHKEM(ecdh.P256()), elliptic.P256(), crypto.SHA256},
	mls.X25519ChaCha20Ed25519: {kem: hpke.DHKEM(ecdh.X25519())},
	mls.P521AES256:            {hpke.DHKEM(ecdh.P521()), elliptic.P521(), crypto.SHA512},
	mls.P384AES256:            {hpke.DHKEM(ecdh.P384()), elliptic.P384(), crypto.SHA384},
}

// newKey derives a key from what it reads, because GenerateKey functions ignore the source that they are given.
func (a algorithms) newKey(random io.Reader) (public, private []byte, err error) {
	const enough = 66 // bytes, for any of the curves
	seed := make([]byte, enough)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, nil, err
	}
	key, err := a.kem.DeriveKeyPair(seed)
	if err != nil {
		return nil, nil, err
	}
	private, err = key.Bytes()
	return key.PublicKey().Bytes(), private, err
}

// newSigner returns who signs without randomness: Ed25519, or ECDSA by RFC 6979. The key is of the same curve as that of a KEM.
func (a algorithms) newSigner(random io.Reader) (public []byte, signer crypto.Signer, err error) {
	public, private, err := a.newKey(random)
	if err != nil {
		return nil, nil, err
	}
	if a.curve == nil {
		signer := ed25519.NewKeyFromSeed(private) // any 32 bytes are one
		return signer.Public().(ed25519.PublicKey), signer, nil
	}
	signer, err = ecdsa.ParseRawPrivateKey(a.curve, private)
	return public, signer, err
}
