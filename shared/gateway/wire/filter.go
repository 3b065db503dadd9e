package wire

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"
)

// Filter is one filter of a REQ, COUNT or NEG-OPEN (NIP-01), with the bytes in which it was written.
type Filter struct {
	raw    jsontext.Value
	kinds  *field // where in raw the kinds stand; nil if there are none
	fields filterFields
}

// filterFields are the fields of NIP-01. Pointers and nil tell what is missing from what is zero or empty.
type filterFields struct {
	IDs     []string                  `json:"ids"`
	Authors []string                  `json:"authors"`
	Kinds   []uint16                  `json:"kinds"`
	Since   *int64                    `json:"since"`
	Until   *int64                    `json:"until"`
	Limit   *uint64                   `json:"limit"`
	Others  map[string]jsontext.Value `json:",embed"`
}

// ParseFilter reads a filter. The fields of NIP-01 must have their exact types and names, without null and fractions; fields of
// other names are kept. The error is ErrFilter.
func ParseFilter(raw jsontext.Value) (Filter, error) {
	f := Filter{raw: raw}
	if raw.Kind() != '{' || json.Unmarshal(raw, &f.fields) != nil {
		return Filter{}, ErrFilter
	}
	for field := range fields(raw) {
		if field.name == "kinds" {
			f.kinds = &field
		}
		// Numbers and hex digits have no letters in common with null, which would be read as 0 or as nothing.
		if looksLikeNIP01(field.name) || isOfNIP01(field.name) && bytes.Contains(field.value, []byte("null")) {
			return Filter{}, ErrFilter
		}
	}
	return f, nil
}

// ParseFilters reads all of them, or fails at the first.
func ParseFilters(raws []jsontext.Value) ([]Filter, error) {
	filters := make([]Filter, len(raws))
	for i, raw := range raws {
		var err error
		if filters[i], err = ParseFilter(raw); err != nil {
			return nil, err
		}
	}
	return filters, nil
}

var filterNames = []string{"ids", "authors", "kinds", "since", "until", "limit"}

func isOfNIP01(name string) bool { return slices.Contains(filterNames, name) }

func looksLikeNIP01(name string) bool {
	like := func(known string) bool { return strings.EqualFold(name, known) }
	return slices.ContainsFunc(filterNames, like) && !isOfNIP01(name)
}

// Condition returns the filter without the bytes that it was read from, to be kept: those hold on to the whole frame.
func (f Filter) Condition() Filter {
	f.raw, f.kinds = nil, nil
	return f
}

// Size is the length of the filter as it was written.
func (f Filter) Size() int { return len(f.raw) }

// AnyKind reports whether the filter says nothing about kinds.
func (f Filter) AnyKind() bool { return f.fields.Kinds == nil }

// Names reports whether the filter names the kind; one without kinds names none.
func (f Filter) Names(kind int) bool { return slices.Contains(f.fields.Kinds, uint16(kind)) }

// NamesOnly reports whether the filter names kinds, and no others than these.
func (f Filter) NamesOnly(kinds ...int) bool {
	other := func(k uint16) bool { return !slices.Contains(kinds, int(k)) }
	return len(f.fields.Kinds) > 0 && !slices.ContainsFunc(f.fields.Kinds, other)
}

// NamesAny reports whether the filter names one of these kinds.
func (f Filter) NamesAny(kinds ...int) bool { return slices.ContainsFunc(kinds, f.Names) }

// Authors returns the authors that the filter names, and whether it names any field about them.
func (f Filter) Authors() (authors []string, named bool) {
	return f.fields.Authors, f.fields.Authors != nil
}

// Admits reports whether an event of that author can match.
func (f Filter) Admits(author string) bool {
	return f.fields.Authors == nil || slices.Contains(f.fields.Authors, author)
}

// AdmitsAny reports whether an event with one of these ids can match.
func (f Filter) AdmitsAny(ids []string) bool {
	named := func(id string) bool { return f.fields.IDs == nil || slices.Contains(f.fields.IDs, id) }
	return slices.ContainsFunc(ids, named)
}

// HasOthers reports whether the filter has other fields than those of NIP-01 that are no tags.
func (f Filter) HasOthers() bool { return len(f.fields.Others) > 0 }

// OnlyNew reports whether the filter wants nothing that is stored: `limit` 0.
func (f Filter) OnlyNew() bool { return f.fields.Limit != nil && *f.fields.Limit == 0 }

// Limit is the filter's limit; without one it is the given default.
func (f Filter) Limit(otherwise int) int {
	if f.fields.Limit == nil || *f.fields.Limit > uint64(otherwise) {
		return otherwise
	}
	return int(*f.fields.Limit)
}

// AsksByAuthorAlone reports whether the filter has kinds, authors and possibly a limit, and nothing else.
func (f Filter) AsksByAuthorAlone() bool {
	p := f.fields
	return p.Kinds != nil && p.Authors != nil && p.IDs == nil && p.Since == nil && p.Until == nil && len(p.Others) == 0
}

// Without returns the filter without these kinds and otherwise byte for byte, and whether any kind is left in it. A filter that
// names none of them stays as it is.
func (f Filter) Without(kinds ...int) (rest jsontext.Value, left bool) {
	if !f.NamesAny(kinds...) {
		return f.raw, true
	}
	kept := slices.DeleteFunc(slices.Clone(f.fields.Kinds), func(k uint16) bool { return slices.Contains(kinds, int(k)) })
	if len(kept) == 0 {
		return nil, false
	}
	written, err := json.Marshal(kept)
	if err != nil {
		return nil, false // integers always encode
	}
	return slices.Concat(f.raw[:f.kinds.at], written, f.raw[f.kinds.at+len(f.kinds.value):]), true
}

// Tag returns the values that the filter wants of a tag: those of "#e" for "e".
func (f Filter) Tag(name string) []string {
	var wanted []string
	if json.Unmarshal(f.fields.Others["#"+name], &wanted) != nil {
		return nil
	}
	return wanted
}

// Matches reports whether the event satisfies the filter, its limit left aside. A field that is not of NIP-01 is a condition
// that is not known to be satisfied. An "#e" that names one of the requests is satisfied by what they were granted, although that
// has no such tag.
func (f Filter) Matches(event *nostr.Event, requests ...string) bool {
	p := f.fields
	within := (p.Since == nil || int64(event.CreatedAt) >= *p.Since) && (p.Until == nil || int64(event.CreatedAt) <= *p.Until)
	return within && f.Admits(event.PubKey) &&
		(p.IDs == nil || slices.Contains(p.IDs, event.ID)) &&
		(p.Kinds == nil || f.Names(event.Kind)) &&
		f.matchesTags(event.Tags, requests)
}

func (f Filter) matchesTags(tags nostr.Tags, requests []string) bool {
	for name := range f.fields.Others {
		if len(name) != 2 || name[0] != '#' {
			return false
		}
		wanted := f.Tag(name[1:])
		named := func(request string) bool { return slices.Contains(wanted, request) }
		isGranted := name == "#e" && slices.ContainsFunc(requests, named)
		if !isGranted && !tags.ContainsAny(name[1:], wanted) {
			return false
		}
	}
	return true
}
