package mls

import (
	"encoding/binary"
	"math/bits"

	"golang.org/x/crypto/cryptobyte"
)

// codec goes over the fields of a structure, in their order, and either reads or writes each: so the layout is said once, and
// what was read is written back byte for byte.
type codec struct {
	writing bool
	bytes   cryptobyte.String // left to read, or written so far
	failed  bool              // the bytes that are read have another structure
}

// encode returns what fields writes.
func encode(fields func(*codec)) []byte {
	c := codec{writing: true}
	fields(&c)
	return c.bytes
}

// take reads n bytes, which alias the input.
func (c *codec) take(n int) (taken []byte) {
	c.failed = c.failed || !c.bytes.ReadBytes(&taken, n)
	return taken
}

// integer goes over a number of the size of its type.
func integer[T ~uint8 | ~uint16 | ~uint64](c *codec, v *T) {
	var widened [8]byte
	field := widened[8-bits.Len64(uint64(^T(0)))/8:]
	if c.writing {
		binary.BigEndian.PutUint64(widened[:], uint64(*v))
		c.bytes = append(c.bytes, field...)
		return
	}
	copy(field, c.take(len(field)))
	*v = T(binary.BigEndian.Uint64(widened[:]))
}

// opaque goes over an opaque<V> of less than 2^30 bytes.
func (c *codec) opaque(v *[]byte) {
	if c.writing {
		c.bytes = append(appendLength(c.bytes, len(*v)), *v...)
		return
	}
	*v = c.take(c.readLength())
}

// key goes over a public key. None is empty, which keeps a bare KeyPackage and a framed one apart for certain (see find).
func (c *codec) key(v *[]byte) {
	c.opaque(v)
	c.failed = c.failed || len(*v) == 0
}

// list goes over a vector of elements, each of at least one byte.
func list[E any](c *codec, elements *[]E, element func(*codec, *E)) {
	inner := codec{writing: c.writing}
	for i := range *elements { // none when reading
		element(&inner, &(*elements)[i])
	}
	c.opaque((*[]byte)(&inner.bytes))
	for !c.writing && !inner.failed && !inner.bytes.Empty() {
		*elements = append(*elements, *new(E))
		element(&inner, &(*elements)[len(*elements)-1])
	}
	c.failed = c.failed || inner.failed
}

// readLength reads the header of a vector, RFC 9420 section 2.1.2. A length has one encoding only: no prefix 0b11, and no more
// bytes than it needs.
func (c *codec) readLength() int {
	var first uint8
	integer(c, &first)
	if first>>6 == 3 {
		c.failed = true
		return 0
	}
	shortest := [...]int{1: 1 << 6, 3: 1 << 14} // by the bytes that follow the first
	tail := c.take(1<<(first>>6) - 1)
	length := int(first & 0x3f)
	for _, b := range tail {
		length = length<<8 | int(b)
	}
	c.failed = c.failed || length < shortest[len(tail)]
	return length
}

func appendLength(b []byte, length int) []byte {
	switch {
	case length < 1<<6:
		return append(b, byte(length))
	case length < 1<<14:
		return binary.BigEndian.AppendUint16(b, uint16(length)|1<<14)
	}
	return binary.BigEndian.AppendUint32(b, uint32(length)|2<<30)
}
