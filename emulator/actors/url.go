package actors

import (
	"errors"
	"fmt"
	"net/url"
	"syscall"
)

// CheckRelayURL returns an error unless the URL is a relay's, as a flag -relay takes it.
func CheckRelayURL(relay string) error {
	u, err := url.Parse(relay)
	if err != nil || u.Hostname() == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return errors.New("-relay is not a websocket URL: ws:// or wss:// and a host")
	}
	return nil
}

// ExplainUnreachable adds to an error of a connection that nothing answers at the relay's URL how to get a relay there.
func ExplainUnreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w; `go run ./emulator up` starts a relay at ws://127.0.0.1:7447, -relay names another one", err)
	}
	return err
}
