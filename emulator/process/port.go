package process

import (
	"cmp"
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

// FreePort returns a port of 127.0.0.1 on which nothing listens: the wanted one, or any for 0. The error wraps ErrPortInUse
// when the wanted one is taken.
func FreePort(wanted int) (int, error) {
	for tries := 50; ; tries-- {
		port := cmp.Or(wanted, lowestFreePort+rand.IntN(highestFreePort-lowestFreePort))
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
