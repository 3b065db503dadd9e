package wire

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Event is an EVENT message to a client. The event is not touched: re-encoding could change the bytes that were signed.
func Event(subscription, event string) []byte { return message("EVENT", quote(subscription), event) }

// OK answers an EVENT or AUTH.
func OK(id string, accepted bool, reason string) []byte {
	return message("OK", quote(id), strconv.FormatBool(accepted), quote(reason))
}

// EOSE says that everything stored has been sent.
func EOSE(subscription string) []byte { return message("EOSE", quote(subscription)) }

// Closed says that a subscription or a COUNT is not, or no longer, answered.
func Closed(subscription, reason string) []byte {
	return message("CLOSED", quote(subscription), quote(reason))
}

// NegErr says the same of a NEG-OPEN.
func NegErr(subscription, reason string) []byte {
	return message("NEG-ERR", quote(subscription), quote(reason))
}

// Notice says something to people.
func Notice(text string) []byte { return message("NOTICE", quote(text)) }

// Auth is a challenge (NIP-42).
func Auth(challenge string) []byte { return message("AUTH", quote(challenge)) }

// Close is what a client sends to end a subscription.
func Close(subscription string) []byte { return message("CLOSE", quote(subscription)) }

// Req is what a client sends for a subscription.
func Req(subscription string, filters []jsontext.Value) []byte {
	elements := []string{quote(subscription)}
	for _, f := range filters {
		elements = append(elements, string(f))
	}
	return message("REQ", elements...)
}

func message(label string, elements ...string) []byte {
	frame := append(append(make([]byte, 0, 64), `["`...), label...)
	frame = append(frame, '"')
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
