// Package wire reads and writes the frames of Nostr (NIP-01, NIP-42, NIP-45, NIP-77) byte for byte: what is read keeps the bytes
// that it came in, so that what is passed on is what was sent.
//
// frame.go takes frames apart, filter.go reads filters and takes kinds out of them, answer.go writes what a relay answers.
//
// Everything is read as I-JSON (RFC 7493), because two programs that read the same bytes must see the same frame: a gateway
// whose parser differs from that of the relay behind it, or of the client before it, can be talked past.
package wire

import (
	"bytes"
	"errors"
	"io"
	"iter"
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
	for _, known := range labels {
		if label != known && strings.EqualFold(label, known) {
			return "", ErrFrame
		}
	}
	return label, nil
}

// Elements are the elements of a frame behind its label. They share the frame's memory.
type Elements []jsontext.Value

// Split takes a frame apart that is I-JSON as a whole. The error is ErrFrame or ErrIJSON.
func Split(frame []byte) (Elements, error) { return split(frame) }

// SplitLoosely is Split for a frame whose values may hold invalid UTF-8, lone surrogates and repeated names, as clients do send
// them: for what is passed on, whoever reads it in the end.
func SplitLoosely(frame []byte) (Elements, error) {
	return split(frame, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
}

func split(frame []byte, options ...jsontext.Options) (Elements, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(frame), options...)
	if token, err := d.ReadToken(); err != nil || token.Kind() != '[' {
		return nil, ErrFrame
	}
	var all Elements
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil {
			return nil, ErrIJSON
		}
		end := int(d.InputOffset())
		all = append(all, jsontext.Value(frame[end-len(value):end]))
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, ErrIJSON
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, ErrIJSON // something follows
	}
	if len(all) == 0 {
		return nil, ErrFrame
	}
	return all[1:], nil
}

// Text returns an element that is a string.
func (e Elements) Text(i int) (string, bool) {
	if i >= len(e) || e[i].Kind() != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(e[i], &s)
	return s, err == nil
}

// Bool returns an element that is true; anything else is false.
func (e Elements) Bool(i int) bool { return i < len(e) && e[i].Kind() == 't' }

// Object returns an element that is an object.
func (e Elements) Object(i int) (jsontext.Value, bool) {
	if i >= len(e) || e[i].Kind() != '{' {
		return nil, false
	}
	return e[i], true
}

// Kind returns the kind of an event, if every parser finds the same one in it, whatever they make of the rest: an integer
// (NIP-01: 0 to 65535), once, under a name that no other field has in another case.
func Kind(event jsontext.Value) (kind int, ok bool) {
	found := 0
	for f := range fields(event) {
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
	for f := range fields(event) {
		if f.name == "id" {
			id, _ := Elements{f.value}.Text(0)
			return id
		}
	}
	return ""
}

// field is one field of an object: its value, and where in the object that begins.
type field struct {
	name  string
	value jsontext.Value
	at    int
}

// fields goes through the fields of an object that has been read before. It ends at the first fault.
func fields(object jsontext.Value) iter.Seq[field] {
	return func(yield func(field) bool) {
		d := jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
		if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
			return
		}
		for d.PeekKind() == '"' {
			token, err := d.ReadToken()
			if err != nil {
				return
			}
			name := token.String()
			value, err := d.ReadValue()
			if err != nil {
				return
			}
			end := int(d.InputOffset())
			at := end - len(value)
			if !yield(field{name, object[at:end], at}) {
				return
			}
		}
	}
}
