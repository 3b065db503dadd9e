package mls

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// readVector reads a vector with a variable-size header (RFC 9420 section 2.1.2). A length has one encoding only (no prefix 0b11,
// no more bytes than it needs), so that what parses also encodes to the same bytes. The result aliases the input.
func readVector(s, vector *cryptobyte.String) bool {
	var header uint8
	if !s.ReadUint8(&header) || header>>6 == 3 {
		return false
	}
	var tail []byte
	if !s.ReadBytes(&tail, 1<<(header>>6)-1) {
		return false
	}
	length := int(header & 0x3f)
	for _, b := range tail {
		length = length<<8 | int(b)
	}
	return headerSize(length) == 1+len(tail) && s.ReadBytes((*[]byte)(vector), length)
}

// readOpaque reads an opaque<V>.
func readOpaque(s *cryptobyte.String, out *[]byte) bool {
	return readVector(s, (*cryptobyte.String)(out))
}

// readUint16s reads a vector of 16-bit code points.
func readUint16s[T ~uint16](s *cryptobyte.String, out *[]T) bool {
	var vector cryptobyte.String
	if !readVector(s, &vector) || len(vector)%2 != 0 {
		return false
	}
	*out = make([]T, 0, len(vector)/2)
	for !vector.Empty() {
		var v uint16
		vector.ReadUint16(&v)
		*out = append(*out, T(v))
	}
	return true
}

// headerSize is the number of bytes that the length of a vector takes.
func headerSize(length int) int {
	switch {
	case length < 1<<6:
		return 1
	case length < 1<<14:
		return 2
	default:
		return 4
	}
}

// appendOpaque appends an opaque<V> of less than 2^30 bytes.
func appendOpaque(b, value []byte) []byte {
	switch length := len(value); headerSize(length) {
	case 1:
		b = append(b, byte(length))
	case 2:
		b = binary.BigEndian.AppendUint16(b, uint16(length)|1<<14)
	default:
		b = binary.BigEndian.AppendUint32(b, uint32(length)|2<<30)
	}
	return append(b, value...)
}

func appendUint16s[T ~uint16](b []byte, values []T) []byte {
	vector := make([]byte, 0, 2*len(values))
	for _, v := range values {
		vector = binary.BigEndian.AppendUint16(vector, uint16(v))
	}
	return appendOpaque(b, vector)
}
