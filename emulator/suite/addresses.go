package suite

import (
	"context"
	"fmt"
	"maps"
	"net/url"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
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
	addresses := s.addresses
	addresses.Functions = maps.Clone(addresses.Functions)
	return addresses
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

// Documents connects to the suite's database; close the client when done.
func (s *Suite) Documents(ctx context.Context) (*firestore.Client, error) {
	at := emulatorAt(s.emulators.Firestore.Addr())
	client, err := firestore.NewClientWithDatabase(ctx, s.config.Project, s.config.Database, at...)
	if err != nil {
		return nil, fmt.Errorf("connect to the Firestore emulator: %w", err)
	}
	return client, nil
}

// emulatorAt leads a Google client to an emulator. The environment, by which it would find one itself, belongs to the whole
// process.
func emulatorAt(addr string) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(addr),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}
