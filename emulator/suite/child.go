package suite

import (
	"context"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// childStart bounds the start of one of our own processes, which takes some 50 ms on an idle machine; nothing waits for it
// to pass.
const childStart = 2 * time.Minute

// child is a process of ours that listens at an address of its own.
type child struct {
	spec   process.Spec
	addr   string
	ready  func(context.Context) error // nil: when it listens
	failed chan<- error

	mu      sync.Mutex
	running *process.Process
}

// start starts the process and returns when it is ready.
func (c *child) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := process.Start(c.spec)
	if err != nil {
		return err
	}
	c.running = p
	ctx, cancel := context.WithTimeout(ctx, childStart)
	defer cancel()
	ready := c.ready
	if ready == nil {
		ready = process.Listens(c.addr)
	}
	if err := p.AwaitReady(ctx, ready); err != nil {
		return err
	}
	go c.watch(p)
	return nil
}

// watch reports the first process that ends by itself.
func (c *child) watch(p *process.Process) {
	<-p.Done()
	if err := p.Err(); err != nil {
		select {
		case c.failed <- err:
		default:
		}
	}
}

func (c *child) stop() error { return c.end((*process.Process).Stop) }

func (c *child) kill() error { return c.end((*process.Process).Kill) }

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return 0
	}
	return c.running.PID()
}

func (c *child) end(how func(*process.Process) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return nil
	}
	return how(c.running)
}
