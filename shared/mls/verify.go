package mls

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Verify tells whether a client would add the owner of kp, a package that Parse returned, to a group: nil, or an error whose
// Reason says why not. It makes the checks of RFC 9420 sections 7.3 and 10.1 that need no group, and those of Marmot: the
// credential is the owner's Nostr public key (ownerPubkey in hex) as 32 bytes, and the lifetime at most MaxLifetime.
//
// The verdict does not depend on the time: it holds for ever for the same bytes and owner. Ask Lifetime.Current as well.
// Signatures come last: with ErrUnverified (suites 4 and 6) all else is right, and with ErrCiphersuite all that can be checked.
func Verify(kp *KeyPackage, ownerPubkey string) error {
	leaf := &kp.LeafNode
	owner, err := hex.DecodeString(ownerPubkey)
	named := err == nil && bytes.Equal(leaf.Credential.Data, owner)
	suite, known := kp.Ciphersuite.known()
	switch {
	case leaf.Source != SourceKeyPackage:
		return ErrLeafNodeSource
	case leaf.Lifetime.NotBefore > leaf.Lifetime.NotAfter,
		leaf.Lifetime.NotAfter-leaf.Lifetime.NotBefore > uint64(MaxLifetime/time.Second):
		return ErrLifetimeLength
	case leaf.Credential.Type != CredentialBasic:
		return ErrCredentialType
	case !named && strings.EqualFold(string(leaf.Credential.Data), ownerPubkey):
		return ErrIdentityHex
	case !named:
		return ErrIdentity
	case !kp.withinCapabilities():
		return ErrCapabilities
	case bytes.Equal(kp.InitKey, leaf.EncryptionKey):
		return ErrInitKeyReused
	case !known:
		return ErrCiphersuite
	case !suite.encryptionKey(kp.InitKey), !suite.encryptionKey(leaf.EncryptionKey), !suite.signatureKey(leaf.SignatureKey):
		return ErrPublicKey
	case suite.verify == nil:
		return ErrUnverified
	case !suite.verify(suite.hash, leaf.SignatureKey, leaf.SignedContent(), leaf.Signature):
		return ErrLeafSignature
	case !suite.verify(suite.hash, leaf.SignatureKey, kp.SignedContent(), kp.Signature):
		return ErrSignature
	}
	return nil
}

// withinCapabilities tells whether the leaf lists everything that the package uses, RFC 9420 section 10. That it may also
// list default types, which section 7.2 forbids, is no reason to refuse: MDK does so, and no peer minds.
func (kp *KeyPackage) withinCapabilities() bool {
	listed := &kp.LeafNode.Capabilities
	extensions := make(map[ExtensionType]bool) // a set, because these lists are a stranger's and may be long
	for _, t := range listed.Extensions {
		extensions[t] = true
	}
	unlisted := func(e Extension) bool { return e.Type > ExtensionExternalSenders && !extensions[e.Type] }
	return slices.Contains(listed.Versions, kp.Version) &&
		slices.Contains(listed.Ciphersuites, kp.Ciphersuite) &&
		slices.Contains(listed.Credentials, kp.LeafNode.Credential.Type) &&
		!slices.ContainsFunc(kp.Extensions, unlisted) && !slices.ContainsFunc(kp.LeafNode.Extensions, unlisted)
}

// MaxLifetime is the longest lifetime that a package may have: 84 days and the hour by which clients antedate a package.
// RFC 9420 section 7.2 demands a limit, and Marmot sets this one, without exemption. OpenMLS refuses more, too.
const MaxLifetime = 7261200 * time.Second

// Lifetime is when a leaf is valid, in Unix seconds, RFC 9420 section 7.2.
type Lifetime struct{ NotBefore, NotAfter uint64 }

// Current returns nil, ErrNotBegun or ErrExpired. At NotAfter itself the lifetime has ended, because OpenMLS sees it so.
func (l Lifetime) Current(now time.Time) error {
	switch second := uint64(max(now.Unix(), 0)); {
	case second >= l.NotAfter:
		return ErrExpired
	case second < l.NotBefore:
		return ErrNotBegun
	}
	return nil
}

// EndOfTime is the last second of the year 9999, in Unix time: beyond it Firestore has no timestamps.
const EndOfTime = 253402300799

// End is NotAfter as a time, at most EndOfTime.
func (l Lifetime) End() time.Time { return time.Unix(int64(min(l.NotAfter, EndOfTime)), 0).UTC() }
