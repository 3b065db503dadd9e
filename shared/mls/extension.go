package mls

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// Extension is one extension of a KeyPackage or a leaf, RFC 9420 section 7.2.
type Extension struct {
	Type ExtensionType
	Data []byte
}

// ExtensionType is a value of the registry in RFC 9420 section 17.3.
type ExtensionType uint16

// The extension types that matter here.
const (
	// ExtensionExternalSenders is the last of the default types, 1 to 5: capabilities need not list them, RFC 9420 section 7.2.
	ExtensionExternalSenders ExtensionType = 0x0005

	// ExtensionAppDataDictionary carries application components, draft-ietf-mls-extensions-09.
	ExtensionAppDataDictionary ExtensionType = 0x0006

	// ExtensionLastResort marks a last resort, draft-ietf-mls-extensions-03 to -05. OpenMLS writes it, and Marmot before 2026-06.
	ExtensionLastResort ExtensionType = 0x000a
)

// ComponentLastResort took its place: an application component without data in the KeyPackage's dictionary,
// draft-ietf-mls-extensions-09. Current Marmot writes it.
const ComponentLastResort uint16 = 0x0004

// LastResort tells whether the owner marked the package as one of last resort, by extension or component among the package's own
// extensions, and so keeps its private key after the first use.
func (kp *KeyPackage) LastResort() bool {
	for _, e := range kp.Extensions {
		switch e.Type {
		case ExtensionLastResort:
			return true
		case ExtensionAppDataDictionary:
			if hasComponent(e.Data, ComponentLastResort) {
				return true
			}
		}
	}
	return false
}

// hasComponent looks for a component in an AppDataDictionary of draft-ietf-mls-extensions-09: a vector of pairs of a uint16 and
// an opaque<V>, ascending. One of any other form has none; the package stays usable, as RFC 9420 section 10 demands.
func hasComponent(data []byte, wanted uint16) bool {
	s := cryptobyte.String(data)
	var entries cryptobyte.String
	if !readVector(&s, &entries) || !s.Empty() {
		return false
	}
	found := false
	for last := -1; !entries.Empty(); {
		var id uint16
		var value []byte
		if !entries.ReadUint16(&id) || !readOpaque(&entries, &value) || int(id) <= last {
			return false
		}
		found = found || id == wanted
		last = int(id)
	}
	return found
}

// readExtensions reads a list in which no type appears twice, RFC 9420 section 13.4.
func readExtensions(s *cryptobyte.String, out *[]Extension) bool {
	var list cryptobyte.String
	if !readVector(s, &list) {
		return false
	}
	seen := make(map[ExtensionType]bool)
	for !list.Empty() {
		var e Extension
		if !list.ReadUint16((*uint16)(&e.Type)) || !readOpaque(&list, &e.Data) || seen[e.Type] {
			return false
		}
		seen[e.Type] = true
		*out = append(*out, e)
	}
	return true
}

func appendExtensions(b []byte, extensions []Extension) []byte {
	var list []byte
	for _, e := range extensions {
		list = binary.BigEndian.AppendUint16(list, uint16(e.Type))
		list = appendOpaque(list, e.Data)
	}
	return appendOpaque(b, list)
}
