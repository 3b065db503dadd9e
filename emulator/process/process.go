// Package process runs the child processes of the local suite: their output goes to files, they stop on request, and they do
// not outlive the program that started them.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// startWithin bounds a start: an emulator takes 2 s on an idle machine with two cores, more than 90 s on one that is
	// overloaded thirty times. A child that ends is noticed at once.
	startWithin = 5 * time.Minute
	// stopGrace is how long a child may take to end after SIGTERM before it is killed. The emulators' JVMs need 0.4 s.
	stopGrace = 5 * time.Second
)

// Process is a child that serves. It may be stopped or killed, and then started again. Its methods are safe for concurrent use.
type Process struct {
	Name    string                      // how messages call it
	Path    string                      // the executable
	Args    []string                    // without the executable
	Env     []string                    // the whole environment; nil inherits the parent's
	LogFile string                      // output is appended here
	Port    int                         // at which it serves, on 127.0.0.1
	Ready   func(context.Context) error // probe that succeeds once it serves; nil: it is when the port accepts a connection
	Failed  chan<- error                // gets why it ended by itself, if there is room; may be nil

	mu  sync.Mutex
	run *run // the last one
}

type run struct {
	cmd      *exec.Cmd
	done     chan struct{} // closed once the child has been waited for
	exit     error         // valid after done
	stopping atomic.Bool
}

// Start starts the child and returns when it serves. The caller must call Stop or Kill, also after an error.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.Name, err)
	}
	defer log.Close() // the child holds its own descriptor
	r := &run{cmd: exec.Command(p.Path, p.Args...), done: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr, r.cmd.SysProcAttr = p.Env, log, log, dieWithParent()
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.run = r
	go func() {
		r.exit = r.cmd.Wait()
		close(r.done)
	}()
	if err := p.awaitReady(ctx, r); err != nil {
		return err
	}
	go func() {
		<-r.done
		if r.stopping.Load() {
			return
		}
		select {
		case p.Failed <- p.ended(r):
		default:
		}
	}()
	return nil
}

// awaitReady polls until the child serves. It fails when the child ends first or ctx does.
func (p *Process) awaitReady(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	ready := p.Ready
	if ready == nil {
		ready = Listens(p.Addr())
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-r.done:
			return p.ended(r)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w, last probe: %w); see %s", p.Name, ctx.Err(), err, p.LogFile)
		case <-tick.C:
		}
	}
}

// ended says how a child ended that nobody stopped, with the end of its output.
func (p *Process) ended(r *run) error {
	how := "exit status 0"
	if r.exit != nil {
		how = r.exit.Error()
	}
	return fmt.Errorf("%s ended by itself (%s); its log %s ends with:\n%s", p.Name, how, p.LogFile, tail(p.LogFile))
}

// Stop asks the child to end, kills it when it does not, and returns when it is gone.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM, syscall.SIGKILL) }

// Kill ends the child at once, as a crash would, and returns when it is gone.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

func (p *Process) end(signals ...syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return nil
	}
	p.run.stopping.Store(true)
	for _, signal := range signals {
		if err := p.run.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signal %s: %w", p.Name, err)
		}
		var grace <-chan time.Time
		if signal != syscall.SIGKILL {
			grace = time.After(stopGrace)
		}
		select {
		case <-p.run.done:
			return nil
		case <-grace:
		}
	}
	return nil
}

// Addr is host:port, where it serves.
func (p *Process) Addr() string { return Addr(p.Port) }

// PID is the id of the child that was started last; 0 before the first.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return 0
	}
	return p.run.cmd.Process.Pid
}

// tail returns the last lines of a file, for an error message.
func tail(file string) string {
	const limit = 1 << 10
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		_, _ = f.Seek(-limit, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	return strings.TrimSpace(string(text))
}
