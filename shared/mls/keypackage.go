// Package mls reads the KeyPackages of Messaging Layer Security (RFC 9420) that Nostr events carry, and tells the good ones
// from the bad: DecodeContent finds the bytes in an event's content, Parse reads their structure, Verify judges them. It holds
// no private key and joins no group. Nothing here keeps state; everything is safe for concurrent use.
package mls

import "fmt"

// MaxSize is the largest KeyPackage that is read, in bytes, which bounds the work that a stranger can cause. Today's are about
// 300 bytes long, and one with ML-KEM-1024 and ML-DSA-87 keys would have about 16 KB.
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

// Only the first may stand in a KeyPackage.
const (
	SourceKeyPackage LeafNodeSource = 1
	SourceUpdate     LeafNodeSource = 2
	SourceCommit     LeafNodeSource = 3
)

// Parse reads one KeyPackage, which must take up all of b. It judges only the structure (Verify does the rest) but that
// strictly: lengths have one encoding, no extension appears twice in a list, no key is empty, nothing follows the signature.
// Whatever it accepts, Marshal gives back byte for byte. The result aliases b. The error is ErrTooLarge, ErrMalformed or ErrVersion.
func Parse(b []byte) (*KeyPackage, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	c, kp := codec{bytes: b}, &KeyPackage{}
	kp.fields(&c)
	switch {
	case c.failed:
		return nil, ErrMalformed
	case !c.bytes.Empty():
		return nil, fmt.Errorf("%w: %d bytes after the end", ErrMalformed, len(c.bytes))
	case kp.Version != VersionMLS10:
		return nil, ErrVersion
	}
	return kp, nil
}

// Marshal encodes the package as RFC 9420 section 10 has it, without a frame.
func (kp *KeyPackage) Marshal() []byte { return encode(kp.fields) }

// Ref is the KeyPackageRef of RFC 9420 section 5.2, which Marmot events carry in hex in their `i` tag. It is nil for a suite
// that RFC 9420 does not define, since the suite chooses the hash.
func (kp *KeyPackage) Ref() []byte {
	suite, ok := kp.Ciphersuite.known()
	if !ok {
		return nil
	}
	return sum(suite.hash, labelled("KeyPackage Reference", kp.Marshal()))
}

// SignedContent is what the package's signature covers: the labelled KeyPackageTBS of RFC 9420 section 10.
func (kp *KeyPackage) SignedContent() []byte { return labelled("KeyPackageTBS", encode(kp.signed)) }

// SignedContent is what the leaf's signature covers in a KeyPackage: the labelled LeafNodeTBS of RFC 9420 section 7.2.
func (l *LeafNode) SignedContent() []byte { return labelled("LeafNodeTBS", encode(l.signed)) }

// labelled is the SignContent of RFC 9420 section 5.1.2, and the RefHashInput of section 5.2.
func labelled(label string, content []byte) []byte {
	label = "MLS 1.0 " + label
	b := append(appendLength(nil, len(label)), label...)
	return append(appendLength(b, len(content)), content...)
}

func (kp *KeyPackage) fields(c *codec) {
	kp.signed(c)
	c.opaque(&kp.Signature)
}

func (kp *KeyPackage) signed(c *codec) {
	integer(c, &kp.Version)
	integer(c, &kp.Ciphersuite)
	c.key(&kp.InitKey)
	kp.LeafNode.signed(c)
	c.opaque(&kp.LeafNode.Signature)
	extensions(c, &kp.Extensions)
}

func (l *LeafNode) signed(c *codec) {
	c.key(&l.EncryptionKey)
	c.key(&l.SignatureKey)
	integer(c, &l.Credential.Type)
	if l.Credential.Type != CredentialBasic && l.Credential.Type != CredentialX509 {
		c.failed = true // only the type says where a credential ends
	}
	c.opaque(&l.Credential.Data)
	list(c, &l.Capabilities.Versions, integer)
	list(c, &l.Capabilities.Ciphersuites, integer)
	list(c, &l.Capabilities.Extensions, integer)
	list(c, &l.Capabilities.Proposals, integer)
	list(c, &l.Capabilities.Credentials, integer)
	integer(c, &l.Source)
	switch l.Source {
	case SourceKeyPackage:
		integer(c, &l.Lifetime.NotBefore)
		integer(c, &l.Lifetime.NotAfter)
	case SourceUpdate:
	case SourceCommit:
		c.opaque(&l.ParentHash)
	default:
		c.failed = true
	}
	extensions(c, &l.Extensions)
}
