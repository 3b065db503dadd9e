package emulators

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

func TestRestartAndStop(t *testing.T) {
	t.Parallel()
	e, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Stop() })

	addr := e.PubSub.Addr()
	e.PubSub.Kill()
	if err := process.Listens(t.Context(), addr); err == nil {
		t.Error("the killed emulator still listens")
	}
	if err := e.PubSub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.PubSub.Addr(); got != addr {
		t.Errorf("restarted at %s, want %s", got, addr)
	}

	logs := e.Firestore.LogFile
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{e.Firestore.Addr(), e.PubSub.Addr()} {
		if err := process.Listens(t.Context(), addr); err == nil {
			t.Errorf("something still listens at %s", addr)
		}
	}
	if _, err := os.Stat(logs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary log is still there: %v", err)
	}
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e, err := Start(t.Context(), Options{PubSubPort: l.Addr().(*net.TCPAddr).Port})
	if err == nil {
		_ = e.Stop()
		t.Fatal("started on a busy port")
	}
	if !errors.Is(err, process.ErrPortInUse) || !strings.Contains(err.Error(), "Pub/Sub emulator") {
		t.Errorf("error %v, want one that names the emulator and ErrPortInUse", err)
	}
}
