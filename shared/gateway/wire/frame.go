// Package wire reads and writes the frames of Nostr (NIP-01, NIP-42, NIP-45, NIP-77) byte for byte: what is read keeps the bytes
// that it came in, so that what is passed on is what was sent.
//
// frame.go takes frames apart and writes them, filter.go reads filters and takes kinds out of them.
//
// Everything is read as I-JSON (RFC 7493), because two programs that read the same bytes must see the same frame: a gateway
// whose parser differs from that of the relay behind it, or of the client before it, can be talked past.
package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Errors of this package. They repeat nothing of what was read.
var (
	ErrFrame  = errors.New("not a Nostr message: a JSON array that begins with a label")
	ErrIJSON  = errors.New("not I-JSON (RFC 7493)")
	ErrFilter = errors.New("not a filter that every relay reads in the same way")
)

// labels are those that a relay may act on, in both directions. Another spelling of one of them is none of them, and not
// something else either.
var labels = []string{"EVENT", "REQ", "CLOSE", "AUTH", "COUNT", "NEG-OPEN", "OK", "EOSE", "CLOSED", "NOTICE"}

// Label returns the label of a frame, and reads no further: what follows it need not be JSON. It fails with ErrFrame also for a
// label that differs from a known one in case only, since a lenient reader might take it for that.
func Label(frame []byte) (string, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(frame))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '[' {
		return "", ErrFrame
	}
	token, err := d.ReadToken()
	if err != nil || token.Kind() != '"' {
		return "", ErrFrame
	}
	label := token.String()
	respelt := func(known string) bool { return label != known && strings.EqualFold(label, known) }
	if slices.ContainsFunc(labels, respelt) {
		return "", ErrFrame
	}
	return label, nil
}

// Elements are the elements of a frame behind its label. They share the frame's memory.
type Elements []jsontext.Value

// Split takes a frame apart that is I-JSON as a whole. The error is ErrFrame or ErrIJSON.
func Split(frame []byte) (Elements, error) { return split(frame, false) }

// SplitLoosely is Split for a frame whose values may hold invalid UTF-8, lone surrogates and repeated names, as clients do send
// them: for what is passed on, whoever reads it in the end.
func SplitLoosely(frame []byte) (Elements, error) { return split(frame, true) }

func split(frame []byte, loosely bool) (Elements, error) {
	e, _, err := inside(frame, '[', loosely)
	switch {
	case err != nil:
		return nil, err
	case len(e) == 0:
		return nil, ErrFrame
	}
	return e[1:], nil
}

// inside takes an array or object apart, in which names and values alternate, and says where each ends. The error is ErrFrame or
// ErrIJSON.
func inside(raw []byte, opening jsontext.Kind, loosely bool) (e Elements, ends []int, err error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowInvalidUTF8(loosely), jsontext.AllowDuplicateNames(loosely))
	if token, err := d.ReadToken(); err != nil || token.Kind() != opening {
		return nil, nil, ErrFrame
	}
	for kind := d.PeekKind(); kind != ']' && kind != '}'; kind = d.PeekKind() {
		value, err := d.ReadValue()
		if err != nil {
			return nil, nil, ErrIJSON
		}
		end := int(d.InputOffset())
		e, ends = append(e, raw[end-len(value):end]), append(ends, end)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, ErrIJSON
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, nil, ErrIJSON // something follows
	}
	return e, ends, nil
}

// Text returns an element that is a string.
func (e Elements) Text(i int) (string, bool) {
	if i >= len(e) || e[i].Kind() != '"' {
		return "", false
	}
	text, err := jsontext.AppendUnquote(nil, e[i])
	if err != nil { // what could not be read is replaced in it
		return "", false
	}
	return string(text), true
}

// Object returns an element that is an object, or nil.
func (e Elements) Object(i int) jsontext.Value {
	if i >= len(e) || e[i].Kind() != '{' {
		return nil
	}
	return e[i]
}

// Kind returns the kind of an event, if every parser finds the same one in it, whatever they make of the rest: an integer
// (NIP-01: 0 to 65535), once, under a name that no other field has in another case.
func Kind(event jsontext.Value) (kind int, ok bool) {
	found := 0
	for _, f := range fields(event) {
		if !strings.EqualFold(f.name, "kind") {
			continue
		}
		var n uint16
		if found++; f.name != "kind" || json.Unmarshal(f.value, &n) != nil || f.value.Kind() != '0' {
			return 0, false
		}
		kind = int(n)
	}
	return kind, found == 1
}

// ID returns what an event names as its id, or "". It is for answers about events that cannot be read otherwise.
func ID(event jsontext.Value) string {
	for _, f := range fields(event) {
		if f.name == "id" {
			id, _ := Elements{f.value}.Text(0)
			return id
		}
	}
	return ""
}

// field is one field of an object: its value, and where in the object that ends.
type field struct {
	name  string
	value jsontext.Value
	end   int
}

// fields returns the fields of an object; of what is none there are none.
func fields(object jsontext.Value) (all []field) {
	e, ends, _ := inside(object, '{', true)
	for i := 1; i < len(e); i += 2 {
		name, _ := jsontext.AppendUnquote(nil, e[i-1]) // fails at invalid UTF-8 only, after it has replaced it
		all = append(all, field{string(name), e[i], ends[i]})
	}
	return all
}

// Message writes a message of strings: NOTICE, EOSE, CLOSED, NEG-ERR, AUTH, CLOSE.
func Message(label string, texts ...string) []byte {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return message(label, quoted...)
}

// Event is an EVENT message to a client. The event is not touched: re-encoding could change the bytes that were signed.
func Event(subscription, event string) []byte { return message("EVENT", quote(subscription), event) }

// OK answers an EVENT or AUTH.
func OK(id string, accepted bool, reason string) []byte {
	return message("OK", quote(id), strconv.FormatBool(accepted), quote(reason))
}

// Req is what a client sends for a subscription.
func Req(subscription string, filters []jsontext.Value) []byte {
	elements := []string{quote(subscription)}
	for _, f := range filters {
		elements = append(elements, string(f))
	}
	return message("REQ", elements...)
}

func message(label string, elements ...string) []byte {
	frame := []byte(`["` + label + `"`)
	for _, element := range elements {
		frame = append(append(frame, ','), element...)
	}
	return append(frame, ']')
}

// quote writes a string as JSON. What is no UTF-8 in it becomes U+FFFD: none of what is quoted here is signed.
func quote(s string) string {
	quoted, _ := jsontext.AppendQuote(nil, s) // fails at invalid UTF-8 only, after it has replaced it
	return string(quoted)
}
