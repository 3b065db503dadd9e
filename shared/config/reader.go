package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
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

// number reads one from floor to ceiling.
func number[T cmp.Ordered](r *reader, name, kind string, fallback, floor, ceiling T, parse func(string) (T, error)) T {
	return read(r, name, fallback, func(value string) (T, error) {
		n, err := parse(value)
		if err != nil || n < floor || n > ceiling {
			return n, fmt.Errorf("%q is not a %s", value, fmt.Sprintf(kind, floor, ceiling))
		}
		return n, nil
	})
}

func (r *reader) duration(name string, fallback, floor, ceiling time.Duration) time.Duration {
	return number(r, name, "duration from %v to %v, such as "+fallback.String(), fallback, floor, ceiling, time.ParseDuration)
}

func (r *reader) count(name string, fallback, floor, ceiling int) int {
	return number(r, name, "whole number from %d to %d", fallback, floor, ceiling, strconv.Atoi)
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

// Parts of URLs, as Terraform knows them, too; https://www.rfc-editor.org/rfc/rfc3986#section-3.3 for the path.
const (
	dnsLabel     = `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
	authority    = `(` + dnsLabel + `(\.` + dnsLabel + `)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?`
	urlCharacter = `[A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}`
)

var (
	reservedPattern = regexp.MustCompile(`^__.*__$`)
	endpointPattern = regexp.MustCompile(`^https?://` + authority + `/(` + urlCharacter + `)+$`)
	socketPattern   = regexp.MustCompile(`^wss?://` + authority + `(/(` + urlCharacter + `)*)?$`)
	hostPattern     = regexp.MustCompile(`^(` + dnsLabel + `(\.` + dnsLabel + `)*|[0-9A-Fa-f:]+|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5})(:[0-9]{1,5})?$`)
)

// nothing matches no value that is given.
const nothing = `^$`

// matching returns a check for texts that match one pattern and not the other.
func matching(pattern, except, rule string) func(string) error {
	matches, excepted := regexp.MustCompile(pattern), regexp.MustCompile(except)
	return func(s string) error {
		if !matches.MatchString(s) || excepted.MatchString(s) {
			return errors.New(rule)
		}
		return nil
	}
}

var (
	// projectID accepts today's ids, legacy domain-scoped ones ("example.com:name") and what the emulators take.
	projectID = matching(`^[a-z][a-z0-9.:-]{1,98}[a-z0-9]$`, nothing, "is not a project id")
	// databaseID follows https://firebase.google.com/docs/firestore/manage-databases. A database "default" would not be found.
	databaseID = matching(`^(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$`, `^default$`,
		"is neither (default), with its brackets, nor a database id: 4 to 63 lower-case letters, digits and hyphens")
	// topicID follows https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names.
	topicID = matching(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`, `^goog`,
		"is not a topic id: 3 to 255 characters, not a path, not beginning with goog")
	secretKey = matching(`^[0-9a-f]{64}$`, `^0*$`, "must be a secret key: 64 lower-case hex digits")
	email     = matching(`^[^@\s]+@[^@\s]+$`, nothing, "must be the e-mail of a service account")
)

// collectionID follows https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields.
func collectionID(s string) error {
	switch {
	case len(s) > 1500 || !utf8.ValidString(s):
		return errors.New("is not UTF-8 of at most 1500 bytes")
	case strings.Contains(s, "/"):
		return errors.New("names a path, not a collection")
	case s == "." || s == ".." || reservedPattern.MatchString(s):
		return errors.New("is a name that Firestore reserves")
	}
	return nil
}

// CheckRelayURL accepts what a bearer token may be sent to (https anywhere, http only inside this machine) and no part of which is
// likely to be a secret, as user information, query and fragment are. The error is the broken rule, without the URL.
func CheckRelayURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return errors.New("is not an absolute URL")
	case u.User != nil || strings.Contains(s, "#") || u.RawQuery != "" || u.ForceQuery:
		return errors.New("must not have user information, a query or a fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !Loopback(s)):
		return errors.New("must use https (http only for a loopback host)")
	case u.Path == "" || u.Path == "/":
		return errors.New("must have the endpoint's path, such as /internal/v1/deliveries")
	case !endpointPattern.MatchString(s) || !validPort(u.Port()):
		return errors.New("must be a host name, perhaps a port from 1 to 65535, and a path without spaces")
	}
	return nil
}

// socketURL accepts what Terraform accepts as well, which also knows whether ws:// stays inside a private network.
func socketURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || !socketPattern.MatchString(s) || !validPort(u.Port()) {
		return nil, errors.New("must be wss:// (or ws://), a host name, perhaps a port from 1 to 65535 and a path, without user information, query and fragment")
	}
	return u, nil
}

func hostNames(s string) error {
	for host := range strings.SplitSeq(s, ",") {
		if !hostPattern.MatchString(host) {
			return errors.New("must be names such as keys.example.com, separated by commas, without scheme and path")
		}
	}
	return nil
}

// validPort takes a port, or "" for none.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func audience(s string) error {
	if len(s) > 1024 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("is not an audience: printable ASCII without spaces")
	}
	return nil
}

// origin returns scheme and authority, "" of "".
func origin(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Loopback says whether the host of endpoint is this machine by name; names are not resolved.
func Loopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
