// Package process runs child processes that serve. They do not outlive the program that started them.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
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
	Name    string                                          // how messages call it
	Path    string                                          // the executable
	Args    []string                                        // without the executable
	Env     []string                                        // the whole environment; nil inherits the parent's
	LogFile string                                          // output is appended here
	Port    int                                             // at which it serves, on 127.0.0.1
	Ready   func(ctx context.Context, address string) error // succeeds once it serves; nil is Listens
	Failed  chan<- error                                    // gets why it ended by itself, if there is room; may be nil

	mu   sync.Mutex
	cmd  *exec.Cmd               // the last one that was started; nil before the first
	stop context.CancelCauseFunc // ends it, by SIGTERM or, if the cause is errKill, at once
	gone context.Context         // is done once it has been waited for
}

var errKill = errors.New("killed, as by a crash")

// Start starts the child and returns when it serves. The caller must call Stop or Kill, also after an error.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.Name, err)
	}
	defer log.Close() // the child holds its own descriptor
	running, stop := context.WithCancelCause(context.Background())
	cmd := exec.CommandContext(running, p.Path, p.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr, cmd.WaitDelay = p.Env, log, log, dieWithParent(), stopGrace
	cmd.Cancel = func() error {
		if context.Cause(running) == errKill {
			return cmd.Process.Kill()
		}
		return cmd.Process.Signal(syscall.SIGTERM)
	}
	if err := cmd.Start(); err != nil {
		stop(nil)
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	gone, waited := context.WithCancel(context.Background())
	p.cmd, p.stop, p.gone = cmd, stop, gone
	go func() {
		_ = cmd.Wait() // its state says how it ended
		waited()
	}()
	if err := p.awaitReady(ctx); err != nil {
		return err
	}
	context.AfterFunc(gone, func() {
		if running.Err() == nil {
			select {
			case p.Failed <- p.ended(cmd):
			default:
			}
		}
	})
	return nil
}

// awaitReady polls until the child serves. It fails when the child ends first or ctx does.
func (p *Process) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	ready := p.Ready
	if ready == nil {
		ready = Listens
	}
	for {
		err := ready(ctx, p.Addr())
		if err == nil {
			return nil
		}
		select {
		case <-p.gone.Done():
			return p.ended(p.cmd)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w, last probe: %w); see %s", p.Name, ctx.Err(), err, p.LogFile)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ended says how a child ended that nobody stopped, with the last lines of its output.
func (p *Process) ended(cmd *exec.Cmd) error {
	const limit = 1 << 10
	log, _ := os.ReadFile(p.LogFile)
	end := strings.TrimSpace(string(log[max(0, len(log)-limit):]))
	return fmt.Errorf("%s ended by itself (%s); its log %s ends with:\n%s", p.Name, cmd.ProcessState, p.LogFile, end)
}

// Stop asks the child to end, kills it when it does not, and returns when it is gone.
func (p *Process) Stop() { p.end(nil) }

// Kill ends the child at once, as a crash would, and returns when it is gone.
func (p *Process) Kill() { p.end(errKill) }

func (p *Process) end(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.stop(cause)
		<-p.gone.Done()
	}
}

// Addr is host:port, where it serves.
func (p *Process) Addr() string { return Addr(p.Port) }

// PID is the id of the child that was started last; 0 before the first.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// ErrPortInUse reports a port that another program listens on.
var ErrPortInUse = errors.New("another program is using it")

// Ports below the range that systems give to outgoing connections (32768 and up on Linux): a port found free here can
// then only be taken by another listener in the moment before the child opens it.
const (
	lowestFreePort = 12000
	freePorts      = 20000
)

// This process tries ports one after the other, so that it chooses none twice. It begins anywhere, since others do the same.
var firstTried, tried = rand.Int64N(freePorts), new(atomic.Int64)

// FreePort returns a port of 127.0.0.1 on which nothing listens: the wanted one, or any for 0. The error may wrap ErrPortInUse.
func FreePort(wanted int) (int, error) {
	for tries := 50; ; tries-- {
		port := cmp.Or(wanted, lowestFreePort+int((firstTried+tried.Add(1))%freePorts))
		l, err := Listen(port)
		if err == nil {
			return port, l.Close()
		}
		if wanted != 0 || tries == 0 {
			return 0, err
		}
	}
}

// Listen opens a port of 127.0.0.1; 0 is any. The error wraps ErrPortInUse when it is taken.
func Listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", Addr(port))
	if errors.Is(err, syscall.EADDRINUSE) {
		err = ErrPortInUse
	}
	if err != nil {
		return nil, fmt.Errorf("port %d: %w", port, err)
	}
	return l, nil
}

// Serve answers with handler until the returned server is closed.
func Serve(l net.Listener, handler http.Handler) *http.Server {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	return server
}

// Addr is the loopback address of a port.
func Addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ServesHTTP is a probe that succeeds when host:port answers GET / with 200.
func ServesHTTP(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", req.URL, res.Status)
	}
	return nil
}

// Listens is a probe that succeeds when host:port accepts a TCP connection.
func Listens(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
