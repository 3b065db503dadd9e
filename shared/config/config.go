// Package config reads the settings of the functions from environment variables into one struct.
//
// All faults are reported together. A variable that is set to the empty string counts as absent, because deployment
// tools cannot always leave one out. The emulator variables FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST are not
// settings: the Google clients read them by themselves.
package config

import (
	"errors"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Names of the variables that a deployment cannot do without; the second is for [Load]'s required argument.
const (
	Project          = "GOOGLE_CLOUD_PROJECT"
	RelayDeliveryURL = "RELAY_DELIVERY_URL"
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

// Bounds of the numeric settings, with the reason for each.
const (
	minRequestMaxAge = time.Minute    // Eventarc's first retry alone comes after 10 s, and clocks differ
	maxRequestMaxAge = 24 * time.Hour // Eventarc gives up then
	minDeliveryTTL   = 30 * time.Second
	maxDeliveryTTL   = time.Hour // a one-time KeyPackage is out of stock for that long
	maxPerOwner      = 10        // more in one unit would drain a usual stock at once
	maxPairLimit     = 10_000    // the window is one document, which Firestore limits to 1 MiB
	maxOwnerBudget   = 100_000   // the same
)

// Load reads the settings through lookup, usually [os.LookupEnv]. Required names variables that a deployment cannot do without,
// besides [Project]. The error joins one fault per variable, which names it and the rule, for an operator to read.
func Load(lookup func(string) (string, bool), required ...string) (Config, error) {
	r := &reader{lookup: lookup}
	for _, name := range append([]string{Project}, required...) {
		r.require(name)
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
		Gateway:            r.gateway(),
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
