package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
)

func TestClassAndReason(t *testing.T) {
	t.Parallel()
	var (
		plain     = errors.New("connection reset")
		permanent = fault.Permanent("bad_envelope", plain)
		retryable = fault.Retryable("store_unavailable", plain)
	)
	tests := []struct {
		name   string
		err    error
		retry  bool
		reason string
	}{
		{"no error", nil, false, ""},
		{"unclassified", plain, true, fault.Internal},
		{"cancelled", context.Canceled, true, fault.Internal},
		{"permanent", permanent, false, "bad_envelope"},
		{"retryable", retryable, true, "store_unavailable"},
		{"reason alone", fault.Permanent("no_data", nil), false, "no_data"},
		{"context added", fmt.Errorf("decode: %w", permanent), false, "bad_envelope"},
		{"innermost wins over retryable", fault.Retryable("outer", fmt.Errorf("x: %w", permanent)), false, "bad_envelope"},
		{"innermost wins over permanent", fault.Permanent("outer", retryable), true, "store_unavailable"},
		{"final above a retryable", fmt.Errorf("x: %w", fault.Final("left_to_tick", retryable)), false, "left_to_tick"},
		{"final stays final", fault.Retryable("outer", fault.Final("left_to_tick", plain)), false, "left_to_tick"},
		{"joined permanents", errors.Join(permanent, fault.Permanent("later", nil)), false, "bad_envelope"},
		{"joined with a retryable", errors.Join(permanent, retryable), true, "store_unavailable"},
		{"joined with an unclassified", errors.Join(permanent, plain), true, fault.Internal},
		{"joined, with context", fmt.Errorf("run: %w", errors.Join(permanent, retryable)), true, "store_unavailable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := fault.IsRetryable(test.err); got != test.retry {
				t.Errorf("IsRetryable = %v, want %v", got, test.retry)
			}
			if got := fault.Reason(test.err); got != test.reason {
				t.Errorf("Reason = %q, want %q", got, test.reason)
			}
		})
	}
}

func TestCauseStaysVisible(t *testing.T) {
	t.Parallel()
	cause := &addressError{"relay"}
	err := fmt.Errorf("push: %w", fault.Retryable("relay_unreachable", cause))

	if !errors.Is(err, cause) {
		t.Error("errors.Is does not find the cause")
	}
	var found *addressError
	if !errors.As(err, &found) || found.host != "relay" {
		t.Errorf("errors.As found %v", found)
	}
	if got, want := err.Error(), "push: relay_unreachable: no route to relay"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestFinalKeepsItsCause(t *testing.T) {
	t.Parallel()
	cause := &addressError{"relay"}
	err := fault.Final("left_to_tick", fault.Retryable("relay_unreachable", cause))
	if !errors.Is(err, cause) || err.Error() != "left_to_tick: relay_unreachable: no route to relay" {
		t.Errorf("the cause is lost in %q", err)
	}
}

type addressError struct{ host string }

func (e *addressError) Error() string { return "no route to " + e.host }
