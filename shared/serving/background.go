package serving

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

const (
	modeEvery   = 5 * time.Second // an operator's switch is to be seen within ten
	modeTimeout = 3 * time.Second
	lineEvery   = time.Minute // metrics count by it
)

// begin does work beside the sessions, which Close waits for. A panic ends that work, not the instance. What it says is not
// logged: it might repeat what a client has sent.
func (s *Service) begin(work func()) {
	s.background.Go(func() {
		defer func() {
			if fault := recover(); fault != nil {
				s.Log.Error("panic", "type", fmt.Sprintf("%T", fault), "stack", string(debug.Stack()))
			}
		}()
		work()
	})
}

// tend does what is to be done now and then, until Close.
func (s *Service) tend() {
	modes, lines, levels := time.NewTicker(modeEvery), time.NewTicker(lineEvery), time.NewTicker(levelEvery)
	defer modes.Stop()
	defer lines.Stop()
	defer levels.Stop()
	for {
		select {
		case <-modes.C:
			if err := s.readMode(s.done); err != nil {
				s.Log.Warn("the mode is not known, and stays", "error", err)
			}
		case <-lines.C:
			s.outcomes.forget(func(known *outcome) bool { return !s.now().Before(known.direct.Expires) })
			if s.gateway.Sessions() > 0 {
				s.report()
			}
		case <-levels.C:
			for _, owner := range s.listeners() {
				s.tellLevel(owner, false)
			}
		case <-s.done.Done():
			s.report()
			return
		}
	}
}

// readMode takes over the mode of the moment.
func (s *Service) readMode(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, modeTimeout)
	defer cancel()
	mode, err := s.Mode.Now(ctx)
	if err == nil {
		s.serving.Store(mode == keypackage.ModeDeliver)
	}
	return err
}

// report writes what the gateway has done since it was last asked.
func (s *Service) report() {
	line := logging.Begin(s.Log)
	line.Set(logging.About, logging.AboutGateway)
	for name, n := range s.gateway.Tally() {
		line.Count(name, n)
	}
	line.End(context.Background(), "serving", nil)
}
