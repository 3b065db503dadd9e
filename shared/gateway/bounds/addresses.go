package bounds

import (
	"maps"
	"net/netip"
	"sync"
	"time"
)

// Addresses count sessions and frames of each client's address. They are safe for concurrent use.
type Addresses struct {
	mu     sync.Mutex
	known  map[string]*Neighbour
	total  int
	closed bool
	swept  time.Time
	inside sync.WaitGroup
}

// Neighbour is what is known of one address.
type Neighbour struct {
	Limits
	sessions int
}

// Refusal is why a session is not opened.
type Refusal string

// The reasons, as clients are told them.
const (
	TooMany Refusal = "rate-limited: too many connections from this address"
	Full    Refusal = "error: this relay is full"
	Over    Refusal = "error: this relay is shutting down"
)

// neighbourhood is what is limited together: an IPv4 address, or the 64 bits of an IPv6 address that one customer is given.
func neighbourhood(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
}

// Admit counts a session in. If the refusal is "", Leave must be called.
func (a *Addresses) Admit(address string) (*Neighbour, Refusal) {
	address = neighbourhood(address)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetIdle()
	n := a.known[address]
	if n == nil {
		n = &Neighbour{Limits: newLimits(perAddress)}
	}
	switch {
	case a.closed:
		return nil, Over
	case a.total >= maxSessions:
		return nil, Full
	case n.sessions >= maxSessionsPerAddress:
		return nil, TooMany
	case a.known == nil:
		a.known = map[string]*Neighbour{}
	}
	a.known[address] = n
	n.sessions++
	a.total++
	a.inside.Add(1)
	return n, ""
}

// Leave counts it out.
func (a *Addresses) Leave(n *Neighbour) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n.sessions--
	a.total--
	a.inside.Done()
}

// Close admits nobody any more. The returned function returns when everybody has left.
func (a *Addresses) Close() (wait func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return a.inside.Wait
}

// Closed reports whether nobody is admitted any more.
func (a *Addresses) Closed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// forgetIdle forgets, once a minute, whom forgetting gives nothing.
func (a *Addresses) forgetIdle() {
	if time.Since(a.swept) < time.Minute {
		return
	}
	a.swept = time.Now()
	maps.DeleteFunc(a.known, func(_ string, n *Neighbour) bool { return n.sessions == 0 && n.full() })
}
