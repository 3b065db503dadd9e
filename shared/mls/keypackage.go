// Package mls reads the KeyPackages of Messaging Layer Security (RFC 9420) that Nostr events carry, and tells the good
// ones from the bad: DecodeContent finds the bytes in an event's content, Parse reads their structure, Verify judges them.
//
// It holds no private key and joins no group. It knows what a delivery service has to know of a KeyPackage: the suite, the
// lifetime, whether it is marked as one of last resort, which bytes make it unique, and whether a peer will accept it.
//
// Nothing here keeps state; everything is safe for concurrent use.
package mls

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// MaxSize is the largest KeyPackage that is read, in bytes. Today's are about 300 bytes long, and one with ML-KEM-1024 and
// ML-DSA-87 keys would have about 16 KB; the limit bounds the work that a stranger can cause.
const MaxSize = 64 << 10

// VersionMLS10 is the only protocol version, RFC 9420 section 6.
const VersionMLS10 uint16 = 1

// KeyPackage is the structure of RFC 9420 section 10, field by field.
type KeyPackage struct {
	Version     uint16
	Ciphersuite Ciphersuite
	InitKey     []byte
	LeafNode    LeafNode
	Extensions  []Extension
	Signature   []byte
}

// LeafNode is the structure of RFC 9420 section 7.2.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // present if Source is SourceKeyPackage
	ParentHash    []byte   // present if Source is SourceCommit
	Extensions    []Extension
	Signature     []byte
}

// Credential says who the owner of a leaf is, RFC 9420 section 5.3.
type Credential struct {
	Type CredentialType
	Data []byte // CredentialBasic: the identity; CredentialX509: the encoded list of certificates
}

// CredentialType is a value of the registry in RFC 9420 section 17.5.
type CredentialType uint16

// The credential types whose structure is known.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// Capabilities is what a client says it supports, RFC 9420 section 7.2.
type Capabilities struct {
	Versions     []uint16
	Ciphersuites []Ciphersuite
	Extensions   []ExtensionType
	Proposals    []uint16
	Credentials  []CredentialType
}

// LeafNodeSource says what a leaf was made for, RFC 9420 section 7.2.
type LeafNodeSource uint8

// The sources of a leaf; only the first may stand in a KeyPackage.
const (
	SourceKeyPackage LeafNodeSource = 1
	SourceUpdate     LeafNodeSource = 2
	SourceCommit     LeafNodeSource = 3
)

// Parse reads one KeyPackage, which must take up all of b. It judges only the structure (Verify does the rest) but that
// strictly: lengths have one encoding, no extension appears twice in a list, no key is empty, nothing follows the signature.
// Whatever it accepts, Marshal gives back byte for byte. The result aliases b.
//
// The error is ErrTooLarge, ErrMalformed or ErrVersion.
func Parse(b []byte) (*KeyPackage, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	s := cryptobyte.String(b)
	var kp KeyPackage
	if !kp.read(&s) {
		return nil, ErrMalformed
	}
	if !s.Empty() {
		return nil, fmt.Errorf("%w: %d bytes after the end", ErrMalformed, len(s))
	}
	if kp.Version != VersionMLS10 {
		return nil, ErrVersion
	}
	return &kp, nil
}

func (kp *KeyPackage) read(s *cryptobyte.String) bool {
	return s.ReadUint16(&kp.Version) &&
		s.ReadUint16((*uint16)(&kp.Ciphersuite)) &&
		readKey(s, &kp.InitKey) &&
		kp.LeafNode.read(s) &&
		readExtensions(s, &kp.Extensions) &&
		readOpaque(s, &kp.Signature)
}

func (l *LeafNode) read(s *cryptobyte.String) bool {
	return readKey(s, &l.EncryptionKey) &&
		readKey(s, &l.SignatureKey) &&
		l.Credential.read(s) &&
		l.Capabilities.read(s) &&
		s.ReadUint8((*uint8)(&l.Source)) &&
		l.readSourceFields(s) &&
		readExtensions(s, &l.Extensions) &&
		readOpaque(s, &l.Signature)
}

func (l *LeafNode) readSourceFields(s *cryptobyte.String) bool {
	switch l.Source {
	case SourceKeyPackage:
		return s.ReadUint64(&l.Lifetime.NotBefore) && s.ReadUint64(&l.Lifetime.NotAfter)
	case SourceUpdate:
		return true
	case SourceCommit:
		return readOpaque(s, &l.ParentHash)
	default:
		return false
	}
}

// read refuses a type that is not known, because only the type says where a credential ends.
func (c *Credential) read(s *cryptobyte.String) bool {
	return s.ReadUint16((*uint16)(&c.Type)) &&
		(c.Type == CredentialBasic || c.Type == CredentialX509) &&
		readOpaque(s, &c.Data)
}

func (c *Capabilities) read(s *cryptobyte.String) bool {
	return readUint16s(s, &c.Versions) &&
		readUint16s(s, &c.Ciphersuites) &&
		readUint16s(s, &c.Extensions) &&
		readUint16s(s, &c.Proposals) &&
		readUint16s(s, &c.Credentials)
}

// readKey reads a public key. None is empty, which keeps a bare KeyPackage and a framed one apart for certain (see unframe).
func readKey(s *cryptobyte.String, key *[]byte) bool { return readOpaque(s, key) && len(*key) > 0 }
