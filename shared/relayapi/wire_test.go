package relayapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// An event is sent as it is: escapes for HTML would be six bytes for one, and the relay counts them.
func TestNothingIsEscapedForHTML(t *testing.T) {
	t.Parallel()
	var body []byte
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		io.WriteString(w, `{"results":[]}`)
	})
	sent := push()
	sent.Deliveries = []*keypackage.Delivery{of("d1", "<&>")}
	client.Push(t.Context(), sent)
	if !strings.Contains(string(body), `"event":"<&>"`) {
		t.Errorf("sent %s", body)
	}
}

// What every relay accepts is sent, and what is larger by one byte is not: encoded bytes count, not those of the events.
func TestTooLargeIsNotSent(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if n, _ := io.Copy(io.Discard, r.Body); n > MaxRequestBytes {
			t.Errorf("sent %d bytes", n)
		}
		io.WriteString(w, `{"results":[{"id":"d1","status":"delivered"}]}`)
	})
	sent := push()
	sent.Deliveries = []*keypackage.Delivery{of("d1", "")}
	frame, err := encode(sent)
	if err != nil {
		t.Fatal(err)
	}
	room := MaxRequestBytes - len(frame) - len(`,"event":""`)
	for name, tt := range map[string]struct {
		event string
		want  keypackage.PushResult
	}{
		"just small enough":   {strings.Repeat("&", room), keypackage.ResultDelivered},
		"one byte more":       {strings.Repeat("&", room+1), keypackage.ResultTooLarge},
		"twice when encoded":  {strings.Repeat(`"`, room/2+1), keypackage.ResultTooLarge},
		"six times, the same": {strings.Repeat("\x01", room/6+1), keypackage.ResultTooLarge},
	} {
		sent.Deliveries = []*keypackage.Delivery{of("d1", tt.event)}
		before := calls.Load()
		got := client.Push(t.Context(), sent)
		if got.Of("d1") != tt.want || (got.Err == nil) != (tt.want == keypackage.ResultDelivered) {
			t.Errorf("%s: %s, %v, want %s", name, got.Of("d1"), got.Err, tt.want)
		}
		if called := calls.Load() > before; called != (tt.want == keypackage.ResultDelivered) {
			t.Errorf("%s: the relay was called: %v", name, called)
		}
	}
}

// An address may hold a secret where no rule can see it. Whatever fails, it is not told.
func TestAddressIsNeverTold(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	broken := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	elsewhere := serve(t, answerWith(302, ""))
	unreachable := serve(t, answerWith(200, ""))
	unreachable.endpoint = "http://127.0.0.1:1" + Path
	impossible := serve(t, answerWith(200, ""))
	impossible.endpoint = "http://127.0.0.1:1\x7f"
	for name, client := range map[string]*Client{
		"broken": broken, "elsewhere": elsewhere, "unreachable": unreachable, "impossible": impossible,
	} {
		client.endpoint += "/" + secret
		got := client.Push(t.Context(), push())
		if got.Err == nil || strings.Contains(got.Err.Error(), secret) {
			t.Errorf("%s: %v", name, got.Err)
		}
	}
}

// faultyConn writes until it fails; then not one byte leaves it.
type faultyConn struct {
	net.Conn
	fails *atomic.Bool
}

var errFaulty = errors.New("nothing leaves any more")

func (c faultyConn) Write(b []byte) (int, error) {
	if c.fails.Load() {
		return 0, errFaulty
	}
	return c.Conn.Write(b)
}

// A connection that was kept may turn out to be dead before the first byte. The transport asks for another one, and if there
// is none, nothing has left this process.
func TestDeadConnectionIsNotSent(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"results":[]}`)
	})
	var dials int
	var fails atomic.Bool
	client.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, fmt.Errorf("dial %d: %w", dials, errFaulty)
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return faultyConn{conn, &fails}, err
	}
	if got := client.Push(t.Context(), push()); got.Whole != "" {
		t.Fatalf("the first push: %+v", got)
	}
	fails.Store(true)
	got := client.Push(t.Context(), push())
	if got.Whole != keypackage.ResultNotSent || dials != 2 {
		t.Errorf("got %+v after %d dials", got, dials)
	}
}
