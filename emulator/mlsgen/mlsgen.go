// Package mlsgen makes real, correctly signed MLS KeyPackages. It throws the private keys away: nobody can join a group with
// them, but everybody who looks at one will accept it.
package mlsgen

import (
	"cmp"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Options say what KeyPackage to make. Only Owner is required.
type Options struct {
	Owner       string                // the Nostr public key, 64 hex digits, that the credential carries as 32 bytes
	Ciphersuite mls.Ciphersuite       // one that signs with Ed25519 or ECDSA: 1 (the default), 2, 3, 5 or 7
	LastResort  bool                  // mark the package with extension 0x000a
	NotBefore   time.Time             // an hour ago by default
	NotAfter    time.Time             // by default mls.MaxLifetime later
	Rand        io.Reader             // of all keys, crypto/rand by default; the same bytes make the same package
	Edit        func(*mls.KeyPackage) // changes the package before it is signed, to one that is bad in a known way; may be nil
}

// New makes one KeyPackage and returns its encoding, not framed. Safe for concurrent use, if Options.Rand is.
func New(o Options) ([]byte, error) {
	identity, err := hex.DecodeString(o.Owner)
	if err != nil || len(identity) != 32 {
		return nil, fmt.Errorf("mlsgen: the owner is not 64 hex digits, but %d characters", len(o.Owner))
	}
	o.setDefaults()
	algorithms, ok := suites[o.Ciphersuite]
	if !ok {
		return nil, fmt.Errorf("mlsgen: cannot make a KeyPackage of suite %v", o.Ciphersuite)
	}
	signatureKey, signer, errSigner := algorithms.newSigner(o.Rand)
	initKey, errInit := algorithms.newKey(o.Rand)
	encryptionKey, errEncryption := algorithms.newKey(o.Rand)
	if err := errors.Join(errSigner, errInit, errEncryption); err != nil {
		return nil, fmt.Errorf("mlsgen: make keys: %w", err)
	}
	kp := &mls.KeyPackage{
		Version: mls.VersionMLS10, Ciphersuite: o.Ciphersuite, InitKey: initKey.PublicKey().Bytes(),
		LeafNode: mls.LeafNode{
			EncryptionKey: encryptionKey.PublicKey().Bytes(), SignatureKey: signatureKey,
			Credential: mls.Credential{Type: mls.CredentialBasic, Data: identity},
			Capabilities: mls.Capabilities{ // those of a Marmot client
				Versions:     []uint16{mls.VersionMLS10},
				Ciphersuites: []mls.Ciphersuite{o.Ciphersuite},
				Extensions:   []mls.ExtensionType{mls.ExtensionAppDataDictionary, mls.ExtensionLastResort, 0xf2ee}, // Marmot's group data
				Credentials:  []mls.CredentialType{mls.CredentialBasic},
			},
			Source:   mls.SourceKeyPackage,
			Lifetime: mls.Lifetime{NotBefore: uint64(o.NotBefore.Unix()), NotAfter: uint64(o.NotAfter.Unix())},
		},
	}
	if o.LastResort {
		kp.Extensions = []mls.Extension{{Type: mls.ExtensionLastResort}}
	}
	if o.Edit != nil {
		o.Edit(kp)
	}
	if kp.LeafNode.Signature, err = crypto.SignMessage(signer, nil, kp.LeafNode.SignedContent(), algorithms.hash); err != nil {
		return nil, fmt.Errorf("mlsgen: sign the leaf: %w", err)
	}
	if kp.Signature, err = crypto.SignMessage(signer, nil, kp.SignedContent(), algorithms.hash); err != nil {
		return nil, fmt.Errorf("mlsgen: sign the package: %w", err)
	}
	return kp.Marshal(), nil
}

// Frame wraps an encoded KeyPackage into an MLSMessage, as current Marmot clients publish it.
func Frame(keyPackage []byte) []byte { return append([]byte{0, 1, 0, 5}, keyPackage...) }

func (o *Options) setDefaults() {
	o.Ciphersuite = cmp.Or(o.Ciphersuite, mls.X25519AES128Ed25519)
	o.NotBefore = cmp.Or(o.NotBefore, time.Now().Add(-time.Hour))
	o.NotAfter = cmp.Or(o.NotAfter, o.NotBefore.Add(mls.MaxLifetime))
	o.Rand = cmp.Or(o.Rand, rand.Reader)
}

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
func (a algorithms) newKey(random io.Reader) (hpke.PrivateKey, error) {
	const enough = 66 // bytes, for any of the curves
	seed := make([]byte, enough)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, err
	}
	return a.kem.DeriveKeyPair(seed)
}

// newSigner returns who signs without randomness: Ed25519, or ECDSA (RFC 6979) with a key of the same curve as the KEM's.
func (a algorithms) newSigner(random io.Reader) (public []byte, signer crypto.Signer, err error) {
	key, err := a.newKey(random)
	if err != nil {
		return nil, nil, err
	}
	private, err := key.Bytes()
	if err != nil {
		return nil, nil, err
	}
	if a.curve == nil {
		signer := ed25519.NewKeyFromSeed(private) // any 32 bytes are one
		return signer.Public().(ed25519.PublicKey), signer, nil
	}
	signer, err = ecdsa.ParseRawPrivateKey(a.curve, private)
	return key.PublicKey().Bytes(), signer, err
}
