// Package process runs one child process of the local suite: its output goes to a file, it stops on request, and it
// does not outlive the program that started it.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// stopGrace is how long a child may take to end after SIGTERM before it is killed. The emulators' JVMs need 0.4 s.
const stopGrace = 5 * time.Second

// Spec describes a child process.
type Spec struct {
	Name    string   // how messages call it
	Path    string   // the executable
	Args    []string // without the executable
	Env     []string // the whole environment; nil inherits the parent's
	LogFile string   // output is appended here
}

// Process is a started child. Its methods are safe for concurrent use.
type Process struct {
	spec     Spec
	cmd      *exec.Cmd
	done     chan struct{} // closed once the child has been waited for
	exit     error         // valid after done
	stopping atomic.Bool
}

// Start starts the child. The caller must call Stop or Kill.
func Start(spec Spec) (*Process, error) {
	log, err := os.OpenFile(spec.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", spec.Name, err)
	}
	defer log.Close() // the child holds its own descriptor

	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = spec.Env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p := &Process{spec: spec, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.exit = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended, with the end of its output; nil while it runs and after Stop or Kill.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.stopping.Load() {
		return nil
	}
	how := "exit status 0"
	if p.exit != nil {
		how = p.exit.Error()
	}
	return fmt.Errorf("%s ended by itself (%s); its log %s ends with:\n%s",
		p.spec.Name, how, p.spec.LogFile, tail(p.spec.LogFile))
}

// Stop asks the child to end, kills it when it does not, and returns when it is gone.
func (p *Process) Stop() error {
	p.stopping.Store(true)
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopGrace):
		return p.Kill()
	}
}

// Kill ends the child at once, as a crash would, and returns when it is gone.
func (p *Process) Kill() error {
	p.stopping.Store(true)
	if err := p.signal(os.Kill); err != nil {
		return err
	}
	<-p.done
	return nil
}

func (p *Process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.spec.Name, err)
	}
	return nil
}

// AwaitReady polls probe until it succeeds. It fails when the child ends first or ctx does.
func (p *Process) AwaitReady(ctx context.Context, probe func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			if err := p.Err(); err != nil {
				return err
			}
			return fmt.Errorf("%s was stopped while it started", p.spec.Name)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w, last probe: %w); see %s", p.spec.Name, ctx.Err(), err, p.spec.LogFile)
		case <-tick.C:
		}
	}
}

// tail returns the last lines of a file, for an error message.
func tail(file string) string {
	const limit = 1 << 10
	f, err := os.Open(filepath.Clean(file))
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
