// Package mlsgen makes real, correctly signed MLS KeyPackages for the demo, the reference clients and the tests. It throws
// the private keys away: nobody can join a group with these packages, but everybody who looks at one will accept it.
package mlsgen

import (
	"crypto/rand"
	"encoding/hex"
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
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	algorithms, ok := suites[o.Ciphersuite]
	if !ok {
		return nil, fmt.Errorf("mlsgen: cannot make a KeyPackage of suite %v", o.Ciphersuite)
	}
	signer, err := algorithms.newSigner(o.Rand)
	if err != nil {
		return nil, fmt.Errorf("mlsgen: signature key: %w", err)
	}
	kp, err := unsigned(o, algorithms.newPublicKey, signer.public)
	if err != nil {
		return nil, err
	}
	if o.Edit != nil {
		o.Edit(kp)
	}
	if kp.LeafNode.Signature, err = signer.sign(kp.LeafNode.SignedContent()); err != nil {
		return nil, fmt.Errorf("mlsgen: sign the leaf: %w", err)
	}
	if kp.Signature, err = signer.sign(kp.SignedContent()); err != nil {
		return nil, fmt.Errorf("mlsgen: sign the package: %w", err)
	}
	return kp.Marshal(), nil
}

// Frame wraps an encoded KeyPackage into an MLSMessage, as current Marmot clients publish it.
func Frame(keyPackage []byte) []byte {
	return append([]byte{0, 1, 0, 5}, keyPackage...)
}

func (o *Options) setDefaults() error {
	if len(o.Owner) != 64 {
		return fmt.Errorf("mlsgen: owner has %d characters, want 64 hex digits", len(o.Owner))
	}
	if o.Ciphersuite == 0 {
		o.Ciphersuite = mls.X25519AES128Ed25519
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = time.Now().Add(-time.Hour)
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = o.NotBefore.Add(mls.MaxLifetime)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return nil
}

func unsigned(o Options, newPublicKey func(io.Reader) ([]byte, error), signatureKey []byte) (*mls.KeyPackage, error) {
	identity, err := hex.DecodeString(o.Owner)
	if err != nil {
		return nil, fmt.Errorf("mlsgen: owner: %w", err)
	}
	initKey, err := newPublicKey(o.Rand)
	if err != nil {
		return nil, fmt.Errorf("mlsgen: init key: %w", err)
	}
	encryptionKey, err := newPublicKey(o.Rand)
	if err != nil {
		return nil, fmt.Errorf("mlsgen: encryption key: %w", err)
	}
	kp := &mls.KeyPackage{
		Version:     mls.VersionMLS10,
		Ciphersuite: o.Ciphersuite,
		InitKey:     initKey,
		LeafNode: mls.LeafNode{
			EncryptionKey: encryptionKey,
			SignatureKey:  signatureKey,
			Credential:    mls.Credential{Type: mls.CredentialBasic, Data: identity},
			Capabilities:  capabilities(o.Ciphersuite),
			Source:        mls.SourceKeyPackage,
			Lifetime:      mls.Lifetime{NotBefore: uint64(o.NotBefore.Unix()), NotAfter: uint64(o.NotAfter.Unix())},
		},
	}
	if o.LastResort {
		kp.Extensions = []mls.Extension{{Type: mls.ExtensionLastResort}}
	}
	return kp, nil
}

// capabilities are those of a Marmot client.
func capabilities(suite mls.Ciphersuite) mls.Capabilities {
	return mls.Capabilities{
		Versions:     []uint16{mls.VersionMLS10},
		Ciphersuites: []mls.Ciphersuite{suite},
		Extensions:   []mls.ExtensionType{mls.ExtensionAppDataDictionary, mls.ExtensionLastResort, extensionMarmotGroupData},
		Credentials:  []mls.CredentialType{mls.CredentialBasic},
	}
}
