// Package fault gives errors the one property that the platform asks for: is it worth trying again?
//
// An error is classified once, where its cause is known, with a constant reason that also serves as a metric label. One place at the
// edge of each function turns the class into an acknowledgement or a retry: use cases never think about HTTP status codes.
package fault

import (
	"cmp"
	"errors"
)

// Internal is the reason of an error that nobody classified.
const Internal = "internal"

// Error is a classified error. It unwraps to its cause, so errors.Is and errors.As see through it.
type Error struct {
	reason    string
	permanent bool
	cause     error
}

// Permanent marks err as one that no repetition can cure, such as a message that cannot be decoded: the event is acknowledged. The reason
// is a constant in snake case, free of data. A nil err makes an error of the reason alone. An err that already carries a class is returned
// as it is: the innermost classification was made where the cause was known.
func Permanent(reason string, err error) error { return classify(reason, err, true) }

// Retryable marks err as one that may pass, such as an unavailable database: the event is tried again. Reason, nil err
// and an err that already carries a class are treated as by [Permanent].
func Retryable(reason string, err error) error { return classify(reason, err, false) }

// Final marks err as one after which the event is acknowledged although its cause may pass, because somebody else tries
// again anyway. Unlike [Permanent] it stands above the class of its cause, which it keeps.
func Final(reason string, err error) error {
	return &Error{reason: reason, permanent: true, cause: err}
}

func classify(reason string, err error, permanent bool) error {
	if classified := new(Error); errors.As(err, &classified) {
		return err
	}
	return &Error{reason: reason, permanent: permanent, cause: err}
}

// Error returns the reason, followed by the cause if there is one.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.reason
	}
	return e.reason + ": " + e.cause.Error()
}

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.cause }

// IsRetryable reports whether the event behind err should be tried again. An unclassified error is retryable, because losing an event is
// worse than repeating it; so is a tree of several errors (errors.Join) as soon as one of its branches is. A nil error is not.
func IsRetryable(err error) bool { return err != nil && !decisive(err).permanent }

// Reason returns the constant reason of err, suitable as a metric label: [Internal] if nobody classified it, the empty
// string if err is nil. In a tree of several errors it belongs to the branch that decides [IsRetryable].
func Reason(err error) string {
	if err == nil {
		return ""
	}
	return decisive(err).reason
}

var unclassified = &Error{reason: Internal}

// decisive returns the classified error that speaks for the tree below err: its first retryable branch, else its first permanent.
func decisive(err error) *Error {
	switch e := err.(type) {
	case *Error:
		return e
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			return decisive(cause)
		}
	case interface{ Unwrap() []error }:
		var permanent *Error
		for _, branch := range e.Unwrap() {
			found := decisive(branch)
			if !found.permanent {
				return found
			}
			permanent = cmp.Or(permanent, found)
		}
		return cmp.Or(permanent, unclassified)
	}
	return unclassified
}
