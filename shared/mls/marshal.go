package mls

import "encoding/binary"

// Marshal encodes the package as RFC 9420 section 10 has it, without a frame.
func (kp *KeyPackage) Marshal() []byte { return appendOpaque(kp.appendUnsigned(nil), kp.Signature) }

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
func (kp *KeyPackage) SignedContent() []byte {
	return labelled("KeyPackageTBS", kp.appendUnsigned(nil))
}

// SignedContent is what the leaf's signature covers in a KeyPackage: the labelled LeafNodeTBS of RFC 9420 section 7.2.
func (l *LeafNode) SignedContent() []byte { return labelled("LeafNodeTBS", l.appendUnsigned(nil)) }

// labelled is the SignContent of RFC 9420 section 5.1.2, and the RefHashInput of section 5.2.
func labelled(label string, content []byte) []byte {
	b := make([]byte, 0, len(content)+32)
	b = appendOpaque(b, []byte("MLS 1.0 "+label))
	return appendOpaque(b, content)
}

func (kp *KeyPackage) appendUnsigned(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kp.Version)
	b = binary.BigEndian.AppendUint16(b, uint16(kp.Ciphersuite))
	b = appendOpaque(b, kp.InitKey)
	b = appendOpaque(kp.LeafNode.appendUnsigned(b), kp.LeafNode.Signature)
	return appendExtensions(b, kp.Extensions)
}

func (l *LeafNode) appendUnsigned(b []byte) []byte {
	b = appendOpaque(b, l.EncryptionKey)
	b = appendOpaque(b, l.SignatureKey)
	b = binary.BigEndian.AppendUint16(b, uint16(l.Credential.Type))
	b = appendOpaque(b, l.Credential.Data)
	b = l.Capabilities.append(b)
	b = append(b, byte(l.Source))
	switch l.Source {
	case SourceKeyPackage:
		b = binary.BigEndian.AppendUint64(b, l.Lifetime.NotBefore)
		b = binary.BigEndian.AppendUint64(b, l.Lifetime.NotAfter)
	case SourceCommit:
		b = appendOpaque(b, l.ParentHash)
	}
	return appendExtensions(b, l.Extensions)
}

func (c *Capabilities) append(b []byte) []byte {
	b = appendUint16s(b, c.Versions)
	b = appendUint16s(b, c.Ciphersuites)
	b = appendUint16s(b, c.Extensions)
	b = appendUint16s(b, c.Proposals)
	return appendUint16s(b, c.Credentials)
}
