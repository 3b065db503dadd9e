package suite

import (
	"maps"
	"net/url"
)

// Addresses is where everything is reached, and what it is called.
type Addresses struct {
	Relay         string            `json:"relay"`          // for Nostr clients, ws://
	RelayDelivery string            `json:"relay_delivery"` // for DeliverKeyPackages
	Upstream      string            `json:"upstream"`       // the relay behind the gateway, ws://; "" is none
	Firestore     string            `json:"firestore"`      // host:port, for FIRESTORE_EMULATOR_HOST
	PubSub        string            `json:"pubsub"`         // host:port, for PUBSUB_EMULATOR_HOST
	Functions     map[string]string `json:"functions"`      // URL by entry point
	Metadata      string            `json:"metadata"`       // host:port, for GCE_METADATA_HOST
	Project       string            `json:"project"`
	Database      string            `json:"database"`
	Topic         string            `json:"topic"`
	Logs          string            `json:"logs"` // directory
}

// Addresses returns the addresses of a started suite.
func (s *Suite) Addresses() Addresses {
	return Addresses{
		Relay:         s.socketURL,
		RelayDelivery: s.deliveryURL,
		Upstream:      s.upstreamURL,
		Firestore:     s.emulators.Firestore.Addr(),
		PubSub:        s.emulators.PubSub.Addr(),
		Functions:     maps.Clone(s.functionURLs),
		Metadata:      s.issuer.Host(),
		Project:       s.config.Project,
		Database:      s.config.Database,
		Topic:         s.config.DeliveryTopic,
		Logs:          s.dir,
	}
}

// websocketURL is the address of a relay of the caller's, of which the delivery endpoint is a path.
func websocketURL(delivery string) string {
	u, err := url.Parse(delivery)
	if err != nil {
		return ""
	}
	scheme := map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	return (&url.URL{Scheme: scheme, Host: u.Host}).String()
}
