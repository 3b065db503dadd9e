// Package claim is the function ClaimKeyPackages: a Firestore trigger for documents created in the requests collection.
package claim

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/invocation"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// EntryPoint is the name under which the function is deployed.
const EntryPoint = "ClaimKeyPackages"

func init() { functions.HTTP(EntryPoint, invocation.Handler(EntryPoint, build)) }

func build(cfg config.Config, _ *slog.Logger) (invocation.Run, error) {
	claimer, err := assembly.Claimer(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *http.Request, line *logging.Line) (string, []byte, error) {
		doc, err := decode(r)
		if err != nil {
			return "undecodable", nil, err
		}
		result, err := claimer.Claim(ctx, doc)
		result.Describe(line)
		return result.Label(), nil, err
	}, nil
}
