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
	_ "crypto/sha256" // makes crypto.SHA256 available
	_ "crypto/sha512" // and crypto.SHA384, crypto.SHA512
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// extensionMarmotGroupData is what every Marmot client lists among its capabilities.
const extensionMarmotGroupData mls.ExtensionType = 0xf2ee

// Options say what KeyPackage to make. Only Owner is required.
type Options struct {
	// Owner is the Nostr public key, 64 hex digits, that the credential carries as 32 bytes.
	Owner string
	// Ciphersuite is one that signs with Ed25519 or ECDSA: 1 (the default), 2, 3, 5 or 7.
	Ciphersuite mls.Ciphersuite
	// LastResort marks the package with extension 0x000a.
	LastResort bool
	// NotBefore is an hour ago by default, and NotAfter is mls.MaxLifetime later.
	NotBefore, NotAfter time.Time
	// Rand is the source of all keys, crypto/rand by default. The same bytes make the same package.
	Rand io.Reader
	// Edit, if set, changes the package before it is signed. For packages that are bad in a known way.
	Edit func(*mls.KeyPackage)
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
	initKey, _, errInit := algorithms.newKey(o.Rand)
	encryptionKey, _, errEncryption := algorithms.newKey(o.Rand)
	if err := errors.Join(errSigner, errInit, errEncryption); err != nil {
		return nil, fmt.Errorf("mlsgen: make keys: %w", err)
	}
	kp := &mls.KeyPackage{
		Version:     mls.VersionMLS10,
		Ciphersuite: o.Ciphersuite,
		InitKey:     initKey,
		LeafNode: mls.LeafNode{
			EncryptionKey: encryptionKey,
			SignatureKey:  signatureKey,
			Credential:    mls.Credential{Type: mls.CredentialBasic, Data: identity},
			Capabilities: mls.Capabilities{ // those of a Marmot client
				Versions:     []uint16{mls.VersionMLS10},
				Ciphersuites: []mls.Ciphersuite{o.Ciphersuite},
				Extensions:   []mls.ExtensionType{mls.ExtensionAppDataDictionary, mls.ExtensionLastResort, extensionMarmotGroupData},
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
