// Package deliver is the function DeliverKeyPackages: it takes the messages of the delivery topic, as pushes or as CloudEvents.
package deliver

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/invocation"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// EntryPoint is the name under which the function is deployed.
const EntryPoint = "DeliverKeyPackages"

func init() {
	functions.HTTP(EntryPoint, invocation.Handler(EntryPoint, build, config.RelayDeliveryURL))
}

func build(cfg config.Config, _ *slog.Logger) (invocation.Run, error) {
	deliverer, err := assembly.Deliverer(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *http.Request, line *logging.Line) (string, []byte, error) {
		message, err := topic.Decode(r)
		if err != nil {
			return "undecodable", nil, err
		}
		ctx = logging.WithTrace(ctx, message.TraceParent)
		var result delivering.Result
		if id := message.Request.RequestID; id != "" {
			line.Set("request_event_id", id)
			result, err = deliverer.ForRequest(ctx, message.Request)
		} else {
			line.Set("requester_pubkey", message.Requester)
			result, err = deliverer.ForRequester(ctx, message.Requester)
		}
		result.Describe(line)
		return outcome(result, err), nil, err
	}, nil
}

// outcome is the invocation's word in the log.
func outcome(result delivering.Result, err error) string {
	switch {
	case fault.IsRetryable(err):
		return "retry"
	case fault.Reason(err) == delivering.LeftToTick:
		return delivering.LeftToTick
	case err != nil:
		return "given_up"
	case result.Delivered > 0:
		return "delivered"
	case result.Waiting > 0:
		return "waiting"
	}
	return "nothing_pending"
}
