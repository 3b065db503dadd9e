package config

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Parts of URLs, as Terraform knows them, too; https://www.rfc-editor.org/rfc/rfc3986#section-3.3 for the path.
const (
	dnsLabel     = `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
	authority    = `(` + dnsLabel + `(\.` + dnsLabel + `)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?`
	urlCharacter = `[A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}`
)

var (
	reservedPattern = regexp.MustCompile(`^__.*__$`)
	endpointPattern = regexp.MustCompile(`^https?://` + authority + `/(` + urlCharacter + `)+$`)
)

// matching returns a check for texts that match a pattern, except some.
func matching(pattern, rule string, except ...string) func(string) error {
	compiled := regexp.MustCompile(pattern)
	return func(s string) error {
		if !compiled.MatchString(s) || slices.Contains(except, s) {
			return errors.New(rule)
		}
		return nil
	}
}

var (
	// projectID accepts today's ids, legacy domain-scoped ones ("example.com:name") and what the emulators take.
	projectID = matching(`^[a-z][a-z0-9.:-]{1,98}[a-z0-9]$`, "is not a project id")
	// databaseID follows https://firebase.google.com/docs/firestore/manage-databases. A database "default" would not be found.
	databaseID = matching(`^(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$`,
		"is neither (default), with its brackets, nor a database id: 4 to 63 lower-case letters, digits and hyphens", "default")
	email = matching(`^[^@\s]+@[^@\s]+$`, "must be the e-mail of a service account")
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

var topicPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

// topicID follows https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names.
func topicID(s string) error {
	if !topicPattern.MatchString(s) || strings.HasPrefix(s, "goog") {
		return errors.New("is not a topic id: 3 to 255 characters, not a path, not beginning with goog")
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
