package mls

import "slices"

// Extension is one extension of a KeyPackage or a leaf, RFC 9420 section 7.2.
type Extension struct {
	Type ExtensionType
	Data []byte
}

// ExtensionType is a value of the registry in RFC 9420 section 17.3.
type ExtensionType uint16

// The extension types that matter here.
const (
	ExtensionExternalSenders   ExtensionType = 0x0005 // the last of the default types: capabilities need not list these, section 7.2
	ExtensionAppDataDictionary ExtensionType = 0x0006 // application components, draft-ietf-mls-extensions-09
	ExtensionLastResort        ExtensionType = 0x000a // in drafts -03 to -05; OpenMLS writes it, and Marmot before 2026-06
)

// componentLastResort took its place: an application component without data, draft-ietf-mls-extensions-09. Current Marmot writes it.
const componentLastResort = 0x0004

// LastResort tells whether the owner marked the package as one of last resort, by extension or component among the package's own
// extensions, and so keeps its private key after the first use.
func (kp *KeyPackage) LastResort() bool {
	return slices.ContainsFunc(kp.Extensions, func(e Extension) bool {
		return e.Type == ExtensionLastResort || e.Type == ExtensionAppDataDictionary && hasComponent(e.Data, componentLastResort)
	})
}

// hasComponent looks for a component in an AppDataDictionary of draft-ietf-mls-extensions-09: pairs like those of a list of
// extensions, ascending. One of any other form has none; the package stays usable, as RFC 9420 section 10 demands.
func hasComponent(dictionary []byte, wanted ExtensionType) bool {
	c, entries, found := codec{bytes: dictionary}, []Extension(nil), false
	list(&c, &entries, extension)
	for i, e := range entries {
		if i > 0 && e.Type <= entries[i-1].Type {
			return false
		}
		found = found || e.Type == wanted
	}
	return found && !c.failed && c.bytes.Empty()
}

func extension(c *codec, e *Extension) {
	integer(c, &e.Type)
	c.opaque(&e.Data)
}

// extensions goes over a list in which no type appears twice, RFC 9420 section 13.4.
func extensions(c *codec, all *[]Extension) {
	list(c, all, extension)
	seen := make(map[ExtensionType]bool, len(*all))
	for _, e := range *all {
		c.failed = c.failed || seen[e.Type]
		seen[e.Type] = true
	}
}
