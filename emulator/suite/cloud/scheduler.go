package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Scheduler calls a function at an interval, and when asked.
type Scheduler struct {
	caller Caller
	log    *slog.Logger
}

// NewScheduler returns a Scheduler of caller's function.
func NewScheduler(caller Caller, log *slog.Logger) *Scheduler {
	return &Scheduler{caller: caller, log: log}
}

// Run calls the function every interval until ctx ends. It never makes two calls at once; Tick may run beside it.
func (s *Scheduler) Run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := s.Tick(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("tick failed", "error", err)
		}
	}
}

// Tick calls the function once and returns its answer. Any status but 2xx is an error.
func (s *Scheduler) Tick(ctx context.Context) ([]byte, error) {
	header := http.Header{"Content-Type": {"application/json"}}
	status, answer, err := s.caller.post(ctx, header, []byte("{}"))
	if err != nil {
		return nil, fmt.Errorf("tick: %w", err)
	}
	if status/100 != 2 {
		return answer, fmt.Errorf("tick: the function answered %d", status)
	}
	return answer, nil
}
