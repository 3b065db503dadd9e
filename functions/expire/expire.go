// Package expire is the function ExpireDeliveries, which Cloud Scheduler calls every minute. It reads no body, and answers with a report.
package expire

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/invocation"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// EntryPoint is the name under which the function is deployed.
const EntryPoint = "ExpireDeliveries"

func init() { functions.HTTP(EntryPoint, invocation.Handler(EntryPoint, build)) }

func build(cfg config.Config, logger *slog.Logger) (invocation.Run, error) {
	expirer, err := assembly.Expirer(context.Background(), cfg, func(ctx context.Context, r claiming.Result, err error) {
		line := logging.Begin(logger)
		line.Set(logging.About, logging.AboutRequest)
		r.Describe(line)
		line.End(ctx, r.Label(), err)
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ *http.Request, line *logging.Line) (string, []byte, error) {
		report, err := expirer.Run(ctx)
		body, encodeErr := json.Marshal(report)
		return describe(line, report), body, cmp.Or(err, encodeErr)
	}, nil
}

// describe returns the invocation's word in the log.
func describe(line *logging.Line, report expiring.Report) string {
	line.Count("returned", report.Returned)
	for reason, n := range report.Burned {
		line.Count("burned_"+reason, n)
	}
	line.Count("reserves", report.Reserves)
	line.Count("nudged", report.Nudged)
	line.Count("taken_up", report.Recovered)
	line.Count("failed", report.Failed)
	line.Count("removed", report.Removed)
	line.Count("retired", report.Retired)
	line.Count("notices", report.Notices)
	line.Count("dismissed", report.Dismissed)
	line.Count("unreadable", report.Unreadable)
	if report.Unreadable > 0 {
		line.Alert("unreadable_document")
		line.Set("unreadable_example", report.Example)
	}
	if len(report.More) == 0 {
		return "done"
	}
	line.Set("more", strings.Join(report.More, " "))
	return "more"
}
