package assembly

import (
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// Describe adds what became of a request to a log line.
func Describe(line *logging.Line, r claiming.Result) {
	line.Set("request_event_id", r.RequestID)
	if r.Reason != "" {
		line.Set("request_reason", r.Reason)
	}
	if r.Repeated {
		line.Set("repeated", "true")
	}
	line.Count("owners", r.Owners)
	line.Count("out_of_stock", r.OutOfStock)
	line.Count("granted", r.Granted)
	line.Count("reserves", r.Reserves)
	line.Count("empty", r.Empty)
	if r.Unmarked {
		line.Count("unmarked", 1)
	}
	if r.Age > 0 {
		line.Measure("receipt_to_answer", r.Age)
	}
}
