package actors

import (
	"errors"
	"net/url"
)

// CheckRelayURL returns an error unless the URL is a relay's, as a flag -relay takes it.
func CheckRelayURL(relay string) error {
	u, err := url.Parse(relay)
	if err != nil || u.Hostname() == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return errors.New("-relay is not a websocket URL: ws:// or wss:// and a host")
	}
	return nil
}
