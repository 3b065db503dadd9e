package config

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Names of the variables that RelayGateway cannot do without: its endpoint would have to refuse everybody.
const (
	RelayAudience  = "RELAY_AUDIENCE"
	DeliveryCaller = "DELIVERY_CALLER"
)

// Names of variables that depend on what else is deployed, or on the local suite.
const (
	UpstreamRelayURL = "UPSTREAM_RELAY_URL"
	RequestsServedBy = "REQUESTS_SERVED_BY"
)

// Gateway holds the settings that only RelayGateway reads.
type Gateway struct {
	Upstream       *url.URL // UPSTREAM_RELAY_URL: the relay behind it, ws or wss; nil for none
	SharesLogin    bool     // UPSTREAM_SHARES_LOGIN: upstream's challenge is used, and it is sent the AUTH
	Hosts          []string // RELAY_HOSTS: names under which clients reach the gateway
	SecretKey      Secret   // GATEWAY_SECRET_KEY: signs outcomes and notices; empty: one is made and kept in Firestore
	DeliveryCaller string   // DELIVERY_CALLER: e-mail of the service account whose token the delivery endpoint takes
	ProxyHops      int      // TRUSTED_PROXY_HOPS: which entry of X-Forwarded-For, from the right, is the client's address
	ServedBy       ServedBy // REQUESTS_SERVED_BY
	REQClaims      bool     // REQ_CLAIMS: a REQ for stored KeyPackages is a request
	MaxStock       int      // MAX_STOCK: KeyPackages of one owner that are kept; more are refused when published
}

// ServedBy says who serves the requests that clients send to the gateway.
type ServedBy string

// The values of REQUESTS_SERVED_BY.
const (
	ServedByGateway   ServedBy = "gateway"   // the instance that holds the session; the functions are the safety net
	ServedByFunctions ServedBy = "functions" // the gateway stores a 447 as any relay would, and a REQ claims nothing
)

// Secret is a text that is not shown when it is printed.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

const (
	maxProxyHops = 4   // Cloud Run's own front end is one, a load balancer before it a second
	maxStock     = 500 // a claim reads no more of a stock than 512 documents
)

func (r *reader) gateway() Gateway {
	return Gateway{
		Upstream:       read(r, UpstreamRelayURL, nil, socketURL),
		SharesLogin:    choice(r, "UPSTREAM_SHARES_LOGIN", "off", "on") == "on",
		Hosts:          strings.Split(r.text("RELAY_HOSTS", "localhost,127.0.0.1,::1", hostNames), ","),
		SecretKey:      Secret(r.text("GATEWAY_SECRET_KEY", "", secretKey)),
		DeliveryCaller: r.text(DeliveryCaller, "", email),
		ProxyHops:      r.count("TRUSTED_PROXY_HOPS", 1, 0, maxProxyHops),
		ServedBy:       choice(r, RequestsServedBy, ServedByGateway, ServedByFunctions),
		REQClaims:      choice(r, "REQ_CLAIMS", "on", "off") == "on",
		MaxStock:       r.count("MAX_STOCK", 200, 1, maxStock),
	}
}

var (
	socketPattern = regexp.MustCompile(`^wss?://` + authority + `(/(` + urlCharacter + `)*)?$`)
	hostPattern   = regexp.MustCompile(`^(` + dnsLabel + `(\.` + dnsLabel + `)*|[0-9A-Fa-f:]+|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5})(:[0-9]{1,5})?$`)
)

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

func secretKey(s string) error {
	if !keypackage.IsEventID(s) || strings.Trim(s, "0") == "" {
		return errors.New("must be a secret key: 64 lower-case hex digits")
	}
	return nil
}
