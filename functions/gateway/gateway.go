// Package gateway is the function RelayGateway: the relay side, for clients' websockets and for the pushes of DeliverKeyPackages.
package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/invocation"
)

// EntryPoint is the name under which the function is deployed.
const EntryPoint = "RelayGateway"

// Issuer issues the ID tokens of DeliverKeyPackages. Outside of Google's cloud another is set before the first request.
var Issuer = assembly.Google

func init() {
	functions.HTTP(EntryPoint, invocation.Built(EntryPoint, build, config.RelayAudience, config.DeliveryCaller))
}

const (
	// startWithin bounds the reading of what a gateway needs before its first request.
	startWithin = 10 * time.Second
	// endWithin is a second less than what Cloud Run leaves an instance after SIGTERM
	// (https://cloud.google.com/run/docs/container-contract#instance-shutdown).
	endWithin = 9 * time.Second
)

func build(cfg config.Config, logger *slog.Logger) (http.Handler, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	gateway, err := assembly.NewGateway(ctx, cfg, Issuer, logger)
	if err != nil {
		return nil, err
	}
	go endInGoodOrder(gateway)
	return gateway, nil
}

// endInGoodOrder ends the process at SIGTERM, of which the framework knows nothing.
func endInGoodOrder(gateway *assembly.Gateway) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	<-terminated
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	gateway.Close(ctx)
	os.Exit(0)
}
