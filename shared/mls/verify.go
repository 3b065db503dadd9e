package mls

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
)

// Verify tells whether a client would add the owner of kp, a package that Parse returned, to a group: nil, or an error whose
// Reason says why not. It makes the checks of RFC 9420 sections 7.3 and 10.1 that need no group, and those of Marmot: the
// credential is the owner's Nostr public key (ownerPubkey in hex) as 32 bytes, and the lifetime at most MaxLifetime.
//
// The verdict does not depend on the time: it holds for ever for the same bytes and owner. Ask Lifetime.Current as well.
// Signatures come last: with ErrUnverified (suites 4 and 6) all else is right, and with ErrCiphersuite all that can be checked.
func Verify(kp *KeyPackage, ownerPubkey string) error {
	leaf := &kp.LeafNode
	switch {
	case leaf.Source != SourceKeyPackage:
		return ErrLeafNodeSource
	case !leaf.Lifetime.acceptable():
		return ErrLifetimeLength
	case leaf.Credential.Type != CredentialBasic:
		return ErrCredentialType
	}
	if err := verifyIdentity(leaf.Credential.Data, ownerPubkey); err != nil {
		return err
	}
	if !kp.withinCapabilities() {
		return ErrCapabilities
	}
	return verifyKeys(kp)
}

// verifyIdentity refuses hex text instead of raw bytes with a reason of its own: some old clients wrote it, today's read it
// as another person, and their authors should be able to find out.
func verifyIdentity(identity []byte, ownerPubkey string) error {
	if owner, err := hex.DecodeString(ownerPubkey); err == nil && bytes.Equal(identity, owner) {
		return nil
	}
	if strings.EqualFold(string(identity), ownerPubkey) {
		return ErrIdentityHex
	}
	return ErrIdentity
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

func verifyKeys(kp *KeyPackage) error {
	leaf := &kp.LeafNode
	suite, ok := kp.Ciphersuite.known()
	switch {
	case bytes.Equal(kp.InitKey, leaf.EncryptionKey):
		return ErrInitKeyReused
	case !ok:
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
