package process

import (
	"context"
	"sync"
	"time"
)

// Server is a child that listens. It may be stopped or killed, and then started again. Its methods are safe for concurrent use.
type Server struct {
	Spec
	Ready  func(context.Context) error // probe that succeeds once it serves
	Within time.Duration               // bounds the start
	Failed chan<- error                // gets why it ended by itself, if there is room; may be nil

	mu      sync.Mutex
	running *Process
}

// Start starts the child and returns when it serves.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := Start(s.Spec)
	if err != nil {
		return err
	}
	s.running = p
	ctx, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	if err := p.AwaitReady(ctx, s.Ready); err != nil {
		return err
	}
	go func() {
		<-p.Done()
		if err := p.Err(); err != nil {
			select {
			case s.Failed <- err:
			default:
			}
		}
	}()
	return nil
}

// Stop ends the child in order.
func (s *Server) Stop() error { return s.end((*Process).Stop) }

// Kill ends the child at once, as a crash would.
func (s *Server) Kill() error { return s.end((*Process).Kill) }

func (s *Server) end(how func(*Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	return how(s.running)
}

// PID is the id of the process that was started last; 0 before the first.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return 0
	}
	return s.running.PID()
}
