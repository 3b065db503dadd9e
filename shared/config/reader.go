package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// reader turns variables into values and collects what is wrong with them. A faulty one reads as the default: it is told once.
type reader struct {
	lookup func(string) (string, bool)
	faults []error
}

func (r *reader) fault(name, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

func (r *reader) value(name string) (string, bool) {
	value, _ := r.lookup(name)
	return value, value != ""
}

func (r *reader) require(name string) {
	if _, ok := r.value(name); !ok {
		r.fault(name, "is required")
	}
}

// read reads a value with parse, whose error is the broken rule.
func read[T any](r *reader, name string, fallback T, parse func(string) (T, error)) T {
	value, ok := r.value(name)
	if !ok {
		return fallback
	}
	parsed, err := parse(value)
	if err != nil {
		r.fault(name, "%v", err)
		return fallback
	}
	return parsed
}

// text reads a string that has to pass check. Rules do not repeat it: a URL may have a password in it.
func (r *reader) text(name, fallback string, check func(string) error) string {
	return read(r, name, fallback, func(value string) (string, error) { return value, check(value) })
}

// choice reads one of several words, the first of which is the default.
func choice[word ~string](r *reader, name string, words ...word) word {
	return read(r, name, words[0], func(value string) (word, error) {
		if !slices.Contains(words, word(value)) {
			return "", fmt.Errorf("%q is not one of %v", value, words)
		}
		return word(value), nil
	})
}

func (r *reader) duration(name string, fallback, floor, ceiling time.Duration) time.Duration {
	return read(r, name, fallback, func(value string) (time.Duration, error) {
		d, err := time.ParseDuration(value)
		if err != nil || d < floor || d > ceiling {
			return 0, fmt.Errorf("%q is not a duration from %v to %v, such as %v", value, floor, ceiling, fallback)
		}
		return d, nil
	})
}

// count reads a whole number from floor to ceiling.
func (r *reader) count(name string, fallback, floor, ceiling int) int {
	return read(r, name, fallback, func(value string) (int, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < floor || n > ceiling {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", value, floor, ceiling)
		}
		return n, nil
	})
}

// collections reads the collection names. Two collections of one name would mix documents of different shapes.
func (r *reader) collections() Collections {
	names := make(map[string]string) // collection -> variable
	named := func(variable, fallback string) string {
		name := r.text(variable, fallback, collectionID)
		if other, taken := names[name]; taken {
			r.fault(variable, "%q is also the value of %s", name, other)
		}
		names[name] = variable
		return name
	}
	return Collections{
		KeyPackages: named("KEYPACKAGES_COLLECTION", "mls_keypackages"),
		Requests:    named("REQUESTS_COLLECTION", "mls_keypackage_requests"),
		Deliveries:  named("DELIVERIES_COLLECTION", "mls_pending_deliveries"),
		Tombstones:  named("TOMBSTONES_COLLECTION", "mls_keypackage_tombstones"),
		Claims:      named("CLAIMS_COLLECTION", "mls_keypackage_claims"),
		Ledger:      named("LEDGER_COLLECTION", "mls_keypackage_ledger"),
		Pairs:       named("PAIRS_COLLECTION", "mls_keypackage_pairs"),
		Owners:      named("OWNERS_COLLECTION", "mls_keypackage_owners"),
	}
}

// audience reads the ID-token audience for the endpoint, "" for none.
func (r *reader) audience(endpoint string) string {
	value, ok := r.value(RelayAudience)
	switch {
	case !ok:
		return origin(endpoint)
	case value != "none":
		return r.text(RelayAudience, "", audience)
	case !Loopback(endpoint):
		r.fault(RelayAudience, "none is allowed only for a loopback %s", RelayDeliveryURL)
	}
	return ""
}
