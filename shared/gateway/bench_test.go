package gateway_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	ordinary "github.com/keypackage-delivery/keypackage-delivery/emulator/upstream"
)

// BenchmarkProxy is what the gateway adds to a frame that only passes.
func BenchmarkProxy(b *testing.B) {
	_, c, u := between(b, nil)
	c.send(`["REQ","a",{"kinds":[1]}]`)
	u.next()
	frame := fmt.Sprintf(`["EVENT","a",%s]`, signed(newKey(), 1, strings.Repeat("x", 200)).Raw)
	b.Run("down", func(b *testing.B) {
		go func() {
			for range b.N {
				u.send(frame)
			}
		}()
		for range b.N {
			c.exactly()
		}
	})
	b.Run("round trip", func(b *testing.B) {
		for range b.N {
			c.send(`["CLOSE","x"]`)
			u.next()
			u.send(`["NOTICE","x"]`)
			c.exactly()
		}
	})
}

// BenchmarkREQ is from REQ to EOSE at an ordinary relay, with and without the gateway before it.
func BenchmarkREQ(b *testing.B) {
	handler := ordinary.New()
	server := httptest.NewServer(handler)
	b.Cleanup(server.Close)
	r := startBefore(b, handler, nil)
	for name, url := range map[string]string{"direct": address(b, server.URL).String(), "before": r.url} {
		b.Run(name, func(b *testing.B) {
			c := connect(b, url, nil)
			if name == "before" {
				c.await("AUTH")
			}
			for range b.N {
				c.send(`["REQ","a",{"kinds":[1]}]`)
				c.expect(`["EOSE","a"]`)
			}
		})
	}
}
