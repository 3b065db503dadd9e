package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// reader turns variables into values and collects what is wrong with them. A faulty value reads as the default, so that
// one mistake is reported once.
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

// text reads a string that has to pass check, which returns the broken rule. The value is not repeated in the fault: a
// URL may have a password in it.
func (r *reader) text(name, fallback string, check func(string) error) string {
	value, ok := r.value(name)
	if !ok {
		return fallback
	}
	if err := check(value); err != nil {
		r.fault(name, "%v", err)
		return fallback
	}
	return value
}

// choice reads one of several words, the first of which is the default.
func choice[word ~string](r *reader, name string, words ...word) word {
	value, ok := r.value(name)
	if !ok {
		return words[0]
	}
	if !slices.Contains(words, word(value)) {
		r.fault(name, "%q is not one of %v", value, words)
		return words[0]
	}
	return word(value)
}

func (r *reader) duration(name string, fallback, floor, ceiling time.Duration) time.Duration {
	value, ok := r.value(name)
	if !ok {
		return fallback
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < floor || d > ceiling {
		r.fault(name, "%q is not a duration from %v to %v, such as %v", value, floor, ceiling, fallback)
		return fallback
	}
	return d
}

// count reads a whole number from floor to ceiling.
func (r *reader) count(name string, fallback, floor, ceiling int) int {
	value, ok := r.value(name)
	if !ok {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < floor || n > ceiling {
		r.fault(name, "%q is not a whole number from %d to %d", value, floor, ceiling)
		return fallback
	}
	return n
}

// collections reads the collection names. Two collections of one name would mix documents of different shapes.
func (r *reader) collections() Collections {
	names := make(map[string]string) // collection -> variable
	read := func(variable, fallback string) string {
		name := r.text(variable, fallback, collectionID)
		if other, taken := names[name]; taken {
			r.fault(variable, "%q is also the value of %s", name, other)
		}
		names[name] = variable
		return name
	}
	return Collections{
		KeyPackages: read("KEYPACKAGES_COLLECTION", "mls_keypackages"),
		Requests:    read("REQUESTS_COLLECTION", "mls_keypackage_requests"),
		Deliveries:  read("DELIVERIES_COLLECTION", "mls_pending_deliveries"),
		Tombstones:  read("TOMBSTONES_COLLECTION", "mls_keypackage_tombstones"),
		Claims:      read("CLAIMS_COLLECTION", "mls_keypackage_claims"),
		Ledger:      read("LEDGER_COLLECTION", "mls_keypackage_ledger"),
		Pairs:       read("PAIRS_COLLECTION", "mls_keypackage_pairs"),
		Owners:      read("OWNERS_COLLECTION", "mls_keypackage_owners"),
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
