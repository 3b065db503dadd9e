// Package config reads the settings of the functions from environment variables into one struct.
//
// All faults are reported together. A variable that is set to the empty string counts as absent: deployment tools cannot always leave one
// out. FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST are no settings: the Google clients read them by themselves.
package config

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Names of variables that some deployments cannot do without, for [Load]'s required argument, or that depend on what else is deployed.
const (
	Project          = "GOOGLE_CLOUD_PROJECT"
	RelayDeliveryURL = "RELAY_DELIVERY_URL" // of DeliverKeyPackages
	RelayAudience    = "RELAY_AUDIENCE"     // of RelayGateway, as the next: its endpoint would have to refuse everybody
	DeliveryCaller   = "DELIVERY_CALLER"
	UpstreamRelayURL = "UPSTREAM_RELAY_URL"
	RequestsServedBy = "REQUESTS_SERVED_BY"
)

// Config holds every setting, valid and with defaults filled in. Its one secret does not print itself.
type Config struct {
	Project     string // GOOGLE_CLOUD_PROJECT: project id; always required
	Database    string // FIRESTORE_DATABASE: database id
	Collections Collections

	RequestMaxAge time.Duration // REQUEST_MAX_AGE: a request taken up later than this after its receipt is stale

	DeliveryTopic    string // DELIVERY_TOPIC: Pub/Sub topic id
	NoticeTopic      string // NOTICE_TOPIC: Pub/Sub topic id of what owners are told about their stock
	RelayDeliveryURL string // RELAY_DELIVERY_URL: the relay's delivery endpoint; https, or http to a loopback host
	RelayAudience    string // RELAY_AUDIENCE: audience of the ID token; empty (from "none") means that no token is sent

	Mode        keypackage.Mode // ROLLOUT_MODE
	DeliveryTTL time.Duration   // DELIVERY_TTL: life of a pending delivery

	MaxPerOwner        int               // MAX_PER_OWNER: ceiling of a request's min
	PairLimitPerHour   int               // PAIR_LIMIT_PER_HOUR: requests of one requester for one owner
	OwnerBudgetPerHour int               // OWNER_BUDGET_PER_HOUR: one-time KeyPackages handed out per owner
	Policy             keypackage.Policy // KEYPACKAGE_POLICY

	Gateway Gateway
}

// Collections names the Firestore collections. All names are different.
type Collections struct {
	KeyPackages string // KEYPACKAGES_COLLECTION
	Requests    string // REQUESTS_COLLECTION
	Deliveries  string // DELIVERIES_COLLECTION
	Tombstones  string // TOMBSTONES_COLLECTION
	Claims      string // CLAIMS_COLLECTION
	Ledger      string // LEDGER_COLLECTION
	Pairs       string // PAIRS_COLLECTION
	Owners      string // OWNERS_COLLECTION
}

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

// Bounds of the numeric settings, with the reason for each.
const (
	minRequestMaxAge = time.Minute    // Eventarc's first retry alone comes after 10 s, and clocks differ
	maxRequestMaxAge = 24 * time.Hour // Eventarc gives up then
	minDeliveryTTL   = 30 * time.Second
	maxDeliveryTTL   = time.Hour // a one-time KeyPackage is out of stock for that long
	maxPerOwner      = 10        // more in one unit would drain a usual stock at once
	maxPairLimit     = 10_000    // the window is one document, which Firestore limits to 1 MiB
	maxOwnerBudget   = 100_000   // the same
	maxProxyHops     = 4         // Cloud Run's own front end is one, a load balancer before it a second
	maxStock         = 500       // a claim reads no more of a stock than 512 documents
)

// Load reads the settings through lookup, usually [os.LookupEnv]. Required names variables that a deployment cannot do without,
// besides [Project]. The error joins one fault per variable, which names it and the rule, for an operator to read.
func Load(lookup func(string) (string, bool), required ...string) (Config, error) {
	r := &reader{lookup: lookup}
	for _, name := range append([]string{Project}, required...) {
		if _, ok := r.value(name); !ok {
			r.fault(name, "is required")
		}
	}
	c := Config{
		Project:            r.text(Project, "", projectID),
		Database:           r.text("FIRESTORE_DATABASE", "(default)", databaseID),
		Collections:        r.collections(),
		RequestMaxAge:      r.duration("REQUEST_MAX_AGE", 15*time.Minute, minRequestMaxAge, maxRequestMaxAge),
		DeliveryTopic:      r.text("DELIVERY_TOPIC", "keypackage-deliveries", topicID),
		NoticeTopic:        r.text("NOTICE_TOPIC", "keypackage-notices", topicID),
		RelayDeliveryURL:   r.text(RelayDeliveryURL, "", CheckRelayURL),
		Mode:               choice(r, "ROLLOUT_MODE", keypackage.ModeDeliver, keypackage.ModeObserve, keypackage.ModeOff),
		DeliveryTTL:        r.duration("DELIVERY_TTL", 5*time.Minute, minDeliveryTTL, maxDeliveryTTL),
		MaxPerOwner:        r.count("MAX_PER_OWNER", 10, 1, maxPerOwner),
		PairLimitPerHour:   r.count("PAIR_LIMIT_PER_HOUR", 10, 1, maxPairLimit),
		OwnerBudgetPerHour: r.count("OWNER_BUDGET_PER_HOUR", 100, 1, maxOwnerBudget),
		Policy:             choice(r, "KEYPACKAGE_POLICY", keypackage.PolicyStrict, keypackage.PolicyWarn),
		Gateway: Gateway{
			Upstream:       read(r, UpstreamRelayURL, nil, socketURL),
			SharesLogin:    choice(r, "UPSTREAM_SHARES_LOGIN", "off", "on") == "on",
			Hosts:          strings.Split(r.text("RELAY_HOSTS", "localhost,127.0.0.1,::1", hostNames), ","),
			SecretKey:      Secret(r.text("GATEWAY_SECRET_KEY", "", secretKey)),
			DeliveryCaller: r.text(DeliveryCaller, "", email),
			ProxyHops:      r.count("TRUSTED_PROXY_HOPS", 1, 0, maxProxyHops),
			ServedBy:       choice(r, RequestsServedBy, ServedByGateway, ServedByFunctions),
			REQClaims:      choice(r, "REQ_CLAIMS", "on", "off") == "on",
			MaxStock:       r.count("MAX_STOCK", 200, 1, maxStock),
		},
	}
	c.RelayAudience = r.audience(c.RelayDeliveryURL)
	if c.NoticeTopic != "" && c.NoticeTopic == c.DeliveryTopic {
		r.fault("NOTICE_TOPIC", "is also the DELIVERY_TOPIC; its messages would be taken for deliveries")
	}
	if len(r.faults) > 0 {
		return Config{}, errors.Join(r.faults...)
	}
	return c, nil
}
