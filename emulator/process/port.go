package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// ErrPortInUse reports a port that another program listens on.
var ErrPortInUse = errors.New("another program is using it")

// Ports below the range that systems give to outgoing connections (32768 and up on Linux): a port found free here can
// then only be taken by another listener in the moment before the child opens it.
const (
	lowestFreePort  = 12000
	highestFreePort = 32000
)

// FreePort returns a port on 127.0.0.1 that nothing listens on.
func FreePort() (int, error) {
	var err error
	for range 50 {
		port := lowestFreePort + rand.IntN(highestFreePort-lowestFreePort)
		if err = CheckPort(port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port found: %w", err)
}

// ChoosePort returns a port that is free: this one, or any for 0.
func ChoosePort(port int) (int, error) {
	if port == 0 {
		return FreePort()
	}
	return port, CheckPort(port)
}

// CheckPort returns an error that wraps ErrPortInUse when port on 127.0.0.1 is taken.
func CheckPort(port int) error {
	l, err := Listen(port)
	if err != nil {
		return err
	}
	return l.Close()
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

// ServesHTTP is a probe that succeeds when GET url answers 200.
func ServesHTTP(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, res.Status)
		}
		return nil
	}
}

// Listens is a probe that succeeds when addr accepts a TCP connection.
func Listens(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
