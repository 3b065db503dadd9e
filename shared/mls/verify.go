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
	if leaf.Source != SourceKeyPackage {
		return ErrLeafNodeSource
	}
	if !leaf.Lifetime.acceptable() {
		return ErrLifetimeLength
	}
	if err := verifyIdentity(&leaf.Credential, ownerPubkey); err != nil {
		return err
	}
	if !kp.withinCapabilities() {
		return ErrCapabilities
	}
	return verifyKeys(kp)
}

// verifyIdentity refuses hex text instead of raw bytes with a reason of its own: some old clients wrote it, today's read it
// as another person, and their authors should be able to find out.
func verifyIdentity(c *Credential, ownerPubkey string) error {
	if c.Type != CredentialBasic {
		return ErrCredentialType
	}
	if owner, err := hex.DecodeString(ownerPubkey); err == nil && bytes.Equal(c.Data, owner) {
		return nil
	}
	if strings.EqualFold(string(c.Data), ownerPubkey) {
		return ErrIdentityHex
	}
	return ErrIdentity
}

// withinCapabilities tells whether the leaf lists everything that the package uses, RFC 9420 section 10. That it may also
// list default types, which section 7.2 forbids, is no reason to refuse: MDK does so, and no peer minds.
func (kp *KeyPackage) withinCapabilities() bool {
	listed := &kp.LeafNode.Capabilities
	return slices.Contains(listed.Versions, kp.Version) &&
		slices.Contains(listed.Ciphersuites, kp.Ciphersuite) &&
		slices.Contains(listed.Credentials, kp.LeafNode.Credential.Type) &&
		listed.cover(kp.Extensions) &&
		listed.cover(kp.LeafNode.Extensions)
}

// cover goes through a set, because both lists are a stranger's and may be long.
func (c *Capabilities) cover(extensions []Extension) bool {
	if len(extensions) == 0 {
		return true
	}
	listed := make(map[ExtensionType]bool, len(c.Extensions))
	for _, t := range c.Extensions {
		listed[t] = true
	}
	for _, e := range extensions {
		if e.Type > ExtensionExternalSenders && !listed[e.Type] {
			return false
		}
	}
	return true
}

func verifyKeys(kp *KeyPackage) error {
	leaf := &kp.LeafNode
	suite, ok := kp.Ciphersuite.known()
	switch {
	case bytes.Equal(kp.InitKey, leaf.EncryptionKey):
		return ErrInitKeyReused
	case !ok:
		return ErrCiphersuite
	case !suite.kem(kp.InitKey), !suite.kem(leaf.EncryptionKey), !suite.signature.validKey(leaf.SignatureKey):
		return ErrPublicKey
	case suite.signature.verify == nil:
		return ErrUnverified
	case !suite.signature.verify(leaf.SignatureKey, leaf.SignedContent(), leaf.Signature):
		return ErrLeafSignature
	case !suite.signature.verify(leaf.SignatureKey, kp.SignedContent(), kp.Signature):
		return ErrSignature
	}
	return nil
}
