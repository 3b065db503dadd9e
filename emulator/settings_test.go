package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
)

// Wrong settings are told before anything is started. Were they not, the ended context would keep anything from starting.
func TestWrongSettingsAreToldAtOnce(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	free := []string{"-relay-port=0", "-page-port=0", "-firestore-port=0", "-pubsub-port=0", "-claim-port=0", "-deliver-port=0", "-expire-port=0"}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		run  func(context.Context, []string) error
		args []string
		mode string
		want string
	}{
		"mode off":         {playDemo, nil, "off", `ROLLOUT_MODE is "off"`},
		"mode observe":     {playDemo, nil, "observe", `ROLLOUT_MODE is "observe"`},
		"port twice":       {up, append(free, "-relay-port=23456", "-claim-port=23456"), "", "-relay-port and -claim-port are both 23456"},
		"port taken":       {up, append(free, "-relay-port="+taken), "", "with -relay-port"},
		"no such port":     {up, append(free, "-relay-port=99999"), "", "99999"},
		"two relays":       {up, append(free, "-upstream=none", "-relay-delivery-url=http://127.0.0.1:9/x"), "", "-upstream is for the gateway"},
		"no such upstream": {up, append(free, "-upstream=localhost"), "", "UPSTREAM_RELAY_URL"},
		"no such endpoint": {up, append(free, "-relay-delivery-url=relay.example"), "", "RELAY_DELIVERY_URL"},
		"free ports only":  {up, free, "", "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ROLLOUT_MODE", c.mode)
			if err := c.run(ended, c.args); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}
