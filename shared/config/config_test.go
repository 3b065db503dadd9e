package config_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

type env map[string]string

func (e env) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// with returns the smallest valid environment plus the given name, value pairs.
func with(pairs ...string) env {
	e := env{config.Project: "demo-project"}
	for i := 0; i < len(pairs); i += 2 {
		e[pairs[i]] = pairs[i+1]
	}
	return e
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := config.Config{
		Project:  "demo-project",
		Database: "(default)",
		Collections: config.Collections{
			KeyPackages: "mls_keypackages",
			Requests:    "mls_keypackage_requests",
			Deliveries:  "mls_pending_deliveries",
			Tombstones:  "mls_keypackage_tombstones",
			Claims:      "mls_keypackage_claims",
			Ledger:      "mls_keypackage_ledger",
			Pairs:       "mls_keypackage_pairs",
			Owners:      "mls_keypackage_owners",
		},
		RequestMaxAge:      15 * time.Minute,
		DeliveryTopic:      "keypackage-deliveries",
		NoticeTopic:        "keypackage-notices",
		Mode:               keypackage.ModeDeliver,
		DeliveryTTL:        5 * time.Minute,
		MaxPerOwner:        10,
		PairLimitPerHour:   10,
		OwnerBudgetPerHour: 100,
		Policy:             keypackage.PolicyStrict,
		Gateway: config.Gateway{
			Hosts: []string{"localhost", "127.0.0.1", "::1"}, ProxyHops: 1, ServedBy: config.ServedByGateway, REQClaims: true, MaxStock: 200,
		},
	}
	absent, err := config.Load(with().lookup)
	if err != nil || !reflect.DeepEqual(absent, want) {
		t.Errorf("Load = %+v, %v; want %+v", absent, err, want)
	}
	empty, err := config.Load(with("ROLLOUT_MODE", "", "DELIVERY_TTL", "", config.RelayDeliveryURL, "").lookup)
	if err != nil || !reflect.DeepEqual(empty, want) {
		t.Errorf("Load of empty values = %+v, %v; want the defaults", empty, err)
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	const relay = "https://relay.example/internal/v1/deliveries"
	secret := strings.Repeat("5e", 32)
	tests := []struct {
		env  env
		get  func(config.Config) any
		want any
	}{
		{with("FIRESTORE_DATABASE", "nostr"), func(c config.Config) any { return c.Database }, "nostr"},
		{with("OWNERS_COLLECTION", "owners"), func(c config.Config) any { return c.Collections.Owners }, "owners"},
		{with("REQUEST_MAX_AGE", "1m"), func(c config.Config) any { return c.RequestMaxAge }, time.Minute},
		{with("REQUEST_MAX_AGE", "24h"), func(c config.Config) any { return c.RequestMaxAge }, 24 * time.Hour},
		{with("DELIVERY_TTL", "30s"), func(c config.Config) any { return c.DeliveryTTL }, 30 * time.Second},
		{with("DELIVERY_TTL", "1h"), func(c config.Config) any { return c.DeliveryTTL }, time.Hour},
		{with("DELIVERY_TOPIC", "a-b.c"), func(c config.Config) any { return c.DeliveryTopic }, "a-b.c"},
		{with("ROLLOUT_MODE", "off"), func(c config.Config) any { return c.Mode }, keypackage.ModeOff},
		{with("ROLLOUT_MODE", "observe"), func(c config.Config) any { return c.Mode }, keypackage.ModeObserve},
		{with("KEYPACKAGE_POLICY", "warn"), func(c config.Config) any { return c.Policy }, keypackage.PolicyWarn},
		{with("MAX_PER_OWNER", "1"), func(c config.Config) any { return c.MaxPerOwner }, 1},
		{with("PAIR_LIMIT_PER_HOUR", "10000"), func(c config.Config) any { return c.PairLimitPerHour }, 10_000},
		{with("OWNER_BUDGET_PER_HOUR", "100000"), func(c config.Config) any { return c.OwnerBudgetPerHour }, 100_000},
		{with("MAX_STOCK", "500"), func(c config.Config) any { return c.Gateway.MaxStock }, 500},
		{with("UPSTREAM_RELAY_URL", "wss://relay.example:8443/nostr"), func(c config.Config) any { return c.Gateway.Upstream.String() }, "wss://relay.example:8443/nostr"},
		{with("UPSTREAM_RELAY_URL", "ws://[::1]:7777"), func(c config.Config) any { return c.Gateway.Upstream.String() }, "ws://[::1]:7777"},
		{with("UPSTREAM_SHARES_LOGIN", "on"), func(c config.Config) any { return c.Gateway.SharesLogin }, true},
		{with("RELAY_HOSTS", "keys.example.com:8443,[::1]:7447"), func(c config.Config) any { return len(c.Gateway.Hosts) }, 2},
		{with("GATEWAY_SECRET_KEY", secret), func(c config.Config) any { return c.Gateway.SecretKey }, config.Secret(secret)},
		{with("GATEWAY_SECRET_KEY", secret), func(c config.Config) any { return strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, c), secret) }, false},
		{with("DELIVERY_CALLER", "a@b.example"), func(c config.Config) any { return c.Gateway.DeliveryCaller }, "a@b.example"},
		{with("TRUSTED_PROXY_HOPS", "0"), func(c config.Config) any { return c.Gateway.ProxyHops }, 0},
		{with("REQUESTS_SERVED_BY", "functions"), func(c config.Config) any { return c.Gateway.ServedBy }, config.ServedByFunctions},
		{with("REQ_CLAIMS", "off"), func(c config.Config) any { return c.Gateway.REQClaims }, false},
		{with(config.RelayDeliveryURL, relay), func(c config.Config) any { return c.RelayDeliveryURL }, relay},
		{with(config.RelayDeliveryURL, relay), func(c config.Config) any { return c.RelayAudience }, "https://relay.example"},
		{with(config.RelayDeliveryURL, "http://127.0.0.1:7447/x"), func(c config.Config) any { return c.RelayAudience }, "http://127.0.0.1:7447"},
		{with(config.RelayDeliveryURL, "http://[::1]:7447/x", "RELAY_AUDIENCE", "none"), func(c config.Config) any { return c.RelayAudience }, ""},
		{with(config.RelayDeliveryURL, relay, "RELAY_AUDIENCE", "relay-prod"), func(c config.Config) any { return c.RelayAudience }, "relay-prod"},
	}
	for _, test := range tests {
		c, err := config.Load(test.env.lookup)
		if err != nil {
			t.Errorf("Load(%v): %v", test.env, err)
		} else if got := test.get(c); got != test.want {
			t.Errorf("Load(%v) gave %v, want %v", test.env, got, test.want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, value, rule string }{
		{config.Project, "", "is required"},
		{config.Project, "a/b", "not a project id"},
		{"FIRESTORE_DATABASE", "Default", "database id"},
		{"KEYPACKAGES_COLLECTION", "a/b", "path"},
		{"KEYPACKAGES_COLLECTION", "..", "reserves"},
		{"CLAIMS_COLLECTION", "__claims__", "reserves"},
		{"LEDGER_COLLECTION", strings.Repeat("x", 1501), "1500"},
		{"PAIRS_COLLECTION", "mls_keypackage_claims", "also the value of CLAIMS_COLLECTION"},
		{"REQUEST_MAX_AGE", "59s", "from 1m0s to 24h0m0s"},
		{"REQUEST_MAX_AGE", "25h", "from 1m0s to 24h0m0s"},
		{"REQUEST_MAX_AGE", "900", "not a duration"},
		{"DELIVERY_TTL", "29s", "from 30s"},
		{"DELIVERY_TTL", "-5m", "from 30s"},
		{"DELIVERY_TTL", "61m", "to 1h"},
		{"DELIVERY_TOPIC", "ab", "topic id"},
		{"DELIVERY_TOPIC", "projects/p/topics/t", "not a path"},
		{"DELIVERY_TOPIC", "google-topic", "goog"},
		{"ROLLOUT_MODE", "on", "[deliver observe off]"},
		{"KEYPACKAGE_POLICY", "STRICT", "[strict warn]"},
		{"MAX_PER_OWNER", "0", "from 1 to 10"},
		{"MAX_PER_OWNER", "11", "from 1 to 10"},
		{"PAIR_LIMIT_PER_HOUR", "many", "whole number"},
		{"PAIR_LIMIT_PER_HOUR", "10001", "to 10000"},
		{"OWNER_BUDGET_PER_HOUR", "-1", "from 1"},
		{"MAX_STOCK", "0", "from 1 to 500"},
		{"MAX_STOCK", "501", "from 1 to 500"},
		{config.RelayDeliveryURL, "relay.example/x", "absolute"},
		{config.RelayDeliveryURL, "https://:443/x", "absolute"},
		{config.RelayDeliveryURL, "http://relay.example/x", "https"},
		{config.RelayDeliveryURL, "http://127.0.0.1.example/x", "https"},
		{config.RelayDeliveryURL, "ftp://localhost/x", "https"},
		{config.RelayDeliveryURL, "https://me:s3cret@relay.example/x", "user information"},
		{config.RelayDeliveryURL, "https://relay.example/x#s3cret", "fragment"},
		{config.RelayDeliveryURL, "https://relay.example/x#", "fragment"},
		{config.RelayDeliveryURL, "https://relay.example/x?key=s3cret", "query"},
		{config.RelayDeliveryURL, "https://relay.example/x?", "query"},
		{config.RelayDeliveryURL, "http://s3cret@127.0.0.1/x", "user information"},
		{config.RelayDeliveryURL, "https://re%lay.example/s3cret", "absolute"},
		{config.RelayDeliveryURL, "https://[relay/s3cret", "absolute"},
		{config.RelayDeliveryURL, "https://relay.example", "path"},
		{config.RelayDeliveryURL, "https://relay.example/", "path"},
		{config.RelayDeliveryURL, "https://relay.example:99999/x", "port"},
		{config.RelayDeliveryURL, "https://relay.example:0/x", "port"},
		{"UPSTREAM_RELAY_URL", "https://relay.example", "wss://"},
		{"UPSTREAM_RELAY_URL", "wss://me:s3cret@relay.example", "user information"},
		{"UPSTREAM_RELAY_URL", "wss://relay.example?key=s3cret", "query"},
		{"UPSTREAM_RELAY_URL", "wss://relay.example:99999", "port"},
		{"UPSTREAM_SHARES_LOGIN", "true", "[off on]"},
		{"RELAY_HOSTS", "wss://keys.example.com", "without scheme"},
		{"RELAY_HOSTS", "keys.example.com,,", "names"},
		{"GATEWAY_SECRET_KEY", "s3cret", "64 lower-case hex"},
		{"GATEWAY_SECRET_KEY", strings.Repeat("0", 64), "64 lower-case hex"},
		{"DELIVERY_CALLER", "serviceAccount", "e-mail"},
		{"TRUSTED_PROXY_HOPS", "-1", "from 0 to 4"},
		{"TRUSTED_PROXY_HOPS", "5", "from 0 to 4"},
		{"REQUESTS_SERVED_BY", "nobody", "[gateway functions]"},
		{"REQ_CLAIMS", "yes", "[on off]"},
		{"RELAY_AUDIENCE", "none", "loopback"},
		{"RELAY_AUDIENCE", "two words", "spaces"},
	}
	for _, test := range tests {
		_, err := config.Load(with(test.name, test.value).lookup)
		if err == nil || !strings.HasPrefix(err.Error(), test.name+": ") || !strings.Contains(err.Error(), test.rule) {
			t.Errorf("%s=%q: error %v, want one that names the variable and %q", test.name, test.value, err, test.rule)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the value is told: %v", test.name, err)
		}
	}
}

func TestRelayURLIsRequiredOnRequest(t *testing.T) {
	t.Parallel()
	_, err := config.Load(with().lookup, config.RelayDeliveryURL)
	if err == nil || err.Error() != "RELAY_DELIVERY_URL: is required" {
		t.Errorf("Load without a relay: %v", err)
	}
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	t.Parallel()
	broken := env{"ROLLOUT_MODE": "on", "DELIVERY_TTL": "5", "RELAY_AUDIENCE": "none"}
	_, err := config.Load(broken.lookup, config.RelayDeliveryURL)

	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		t.Fatalf("Load = %v, want several faults", err)
	}
	for _, name := range []string{config.Project, config.RelayDeliveryURL, "ROLLOUT_MODE", "DELIVERY_TTL", "RELAY_AUDIENCE"} {
		if strings.Count(err.Error(), name+": ") != 1 {
			t.Errorf("%s is not named exactly once in:\n%v", name, err)
		}
	}
	if got := len(joined.Unwrap()); got != 5 {
		t.Errorf("%d faults, want 5:\n%v", got, err)
	}
}
