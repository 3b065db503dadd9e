package relayapi

import "net/http"

// Answer is what one push came to, as far as the life of its deliveries is concerned.
type Answer struct {
	Class Class
	Code  int // HTTP status, 0 if none arrived

	// Results holds the relay's answers of class Answered by delivery id. A delivery that is missing here, or was answered
	// with a status outside the contract, may or may not have been sent.
	Results map[string]Result

	Err error // nil for Answered; never carries a token, a body or an event
}

// Class sorts the outcomes of a push by what is known afterwards.
type Class uint8

const (
	// Unclear means that the relay may have sent the deliveries: 408, 5xx, a broken connection, a timeout or an
	// unreadable 200. It is the zero value because assuming exposure is the safe mistake.
	Unclear Class = iota
	// Answered means a readable 200 with one result per delivery.
	Answered
	// NotSent means that not one byte of the request left this process.
	NotSent
	// Refused means 401, 403, 404, 413, 425 or 429: by contract nothing was written to any session.
	Refused
	// Unexpected means any other status, redirects included: the deliveries may have been sent, and trying again will
	// not help before somebody has looked.
	Unexpected
)

func (c Class) String() string {
	return [...]string{"unclear", "answered", "not_sent", "refused", "unexpected"}[c]
}

// classify sorts every HTTP status except 200, whose body decides.
func classify(code int) Class {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusRequestEntityTooLarge, http.StatusTooEarly, http.StatusTooManyRequests:
		return Refused
	case http.StatusRequestTimeout:
		return Unclear
	}
	if code >= 500 {
		return Unclear
	}
	return Unexpected
}
