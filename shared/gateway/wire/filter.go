package wire

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"
)

// Filter is one filter of a REQ, COUNT or NEG-OPEN (NIP-01), with the bytes in which it was written. A field that is nil is not
// there, which is not the same as zero or empty.
type Filter struct {
	IDs     []string                  `json:"ids"`
	Authors []string                  `json:"authors"`
	Kinds   []uint16                  `json:"kinds"`
	Since   *int64                    `json:"since"`
	Until   *int64                    `json:"until"`
	Limit   *uint64                   `json:"limit"`
	Others  map[string]jsontext.Value `json:",embed"` // tags, and what NIP-01 does not know

	raw   jsontext.Value
	kinds field // where in raw the kinds stand
}

var filterNames = []string{"ids", "authors", "kinds", "since", "until", "limit"}

// ParseFilter reads a filter. The fields of NIP-01 must have their exact types and names, without null and fractions; fields of
// other names are kept. The error is ErrFilter.
func ParseFilter(raw jsontext.Value) (Filter, error) {
	f := Filter{raw: raw}
	if raw.Kind() != '{' || json.Unmarshal(raw, &f) != nil {
		return Filter{}, ErrFilter
	}
	for _, field := range fields(raw) {
		i := slices.IndexFunc(filterNames, func(known string) bool { return strings.EqualFold(known, field.name) })
		if i < 0 {
			continue
		}
		// Numbers and hex digits have no letters in common with null, which would be read as 0 or as nothing.
		if field.name != filterNames[i] || bytes.Contains(field.value, []byte("null")) {
			return Filter{}, ErrFilter
		}
		if field.name == "kinds" {
			f.kinds = field
		}
	}
	return f, nil
}

// Condition returns the filter without the bytes that it was read from, to be kept: those hold on to the whole frame.
func (f Filter) Condition() Filter {
	f.raw, f.kinds = nil, field{}
	return f
}

// Size is the length of the filter as it was written.
func (f Filter) Size() int { return len(f.raw) }

// Names reports whether the filter names one of these kinds; one without kinds names none.
func (f Filter) Names(kinds ...int) bool {
	return slices.ContainsFunc(f.Kinds, func(k uint16) bool { return slices.Contains(kinds, int(k)) })
}

// NamesOnly reports whether the filter names kinds, and no others than these.
func (f Filter) NamesOnly(kinds ...int) bool { return len(f.Kinds) > 0 && len(f.kindsBut(kinds)) == 0 }

func (f Filter) kindsBut(kinds []int) []uint16 {
	return slices.DeleteFunc(slices.Clone(f.Kinds), func(k uint16) bool { return slices.Contains(kinds, int(k)) })
}

// OnlyNew reports whether the filter wants nothing that is stored: `limit` 0.
func (f Filter) OnlyNew() bool { return f.Limit != nil && *f.Limit == 0 }

// Most is the filter's limit, or that, if it has none or a larger one.
func (f Filter) Most(limit int) int {
	if f.Limit != nil {
		return int(min(*f.Limit, uint64(limit)))
	}
	return limit
}

// AsksByAuthorAlone reports whether the filter has kinds, authors and possibly a limit, and nothing else.
func (f Filter) AsksByAuthorAlone() bool {
	return f.Kinds != nil && f.Authors != nil && f.IDs == nil && f.Since == nil && f.Until == nil && len(f.Others) == 0
}

// Without returns the filter without these kinds and otherwise byte for byte, and whether any kind is left in it. A filter that
// names none of them stays as it is.
func (f Filter) Without(kinds ...int) (rest jsontext.Value, left bool) {
	if !f.Names(kinds...) {
		return f.raw, true
	}
	kept := f.kindsBut(kinds)
	written, err := json.Marshal(kept)
	if err != nil || len(kept) == 0 { // integers always encode
		return nil, false
	}
	return slices.Concat(f.raw[:f.kinds.end-len(f.kinds.value)], written, f.raw[f.kinds.end:]), true
}

// Tag returns the values that the filter wants of a tag: those of "#e" for "e".
func (f Filter) Tag(name string) (wanted []string) {
	if json.Unmarshal(f.Others["#"+name], &wanted) != nil {
		return nil
	}
	return wanted
}

// Admits reports whether a field that lists values, or is not there (nil), is satisfied by one of these.
func Admits(listed []string, values ...string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return listed == nil || slices.Contains(listed, v) })
}

// Matches reports whether the event satisfies the filter, its limit left aside. A field that is not of NIP-01 is a condition
// that is not known to be satisfied. An "#e" that names one of the requests is satisfied by what they were granted, although that
// has no such tag.
func (f Filter) Matches(event *nostr.Event, requests ...string) bool {
	if f.Since != nil && int64(event.CreatedAt) < *f.Since || f.Until != nil && int64(event.CreatedAt) > *f.Until ||
		!Admits(f.Authors, event.PubKey) || !Admits(f.IDs, event.ID) || f.Kinds != nil && !f.Names(event.Kind) {
		return false
	}
	for name := range f.Others {
		if len(name) != 2 || name[0] != '#' {
			return false
		}
		wanted := f.Tag(name[1:])
		isGranted := name == "#e" && wanted != nil && Admits(wanted, requests...)
		if !isGranted && !event.Tags.ContainsAny(name[1:], wanted) {
			return false
		}
	}
	return true
}
