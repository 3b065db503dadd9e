package suite

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

const topicSetting = "my-deliveries"

func start(t *testing.T, opts Options) *Suite {
	t.Helper()
	opts.Project, opts.Emulators = emutest.Project(t), emutest.Emulators(t)
	opts.FunctionEnv = map[string]string{"DELIVERY_TOPIC": topicSetting}
	s, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestCreatedDocumentReachesClaim(t *testing.T) {
	t.Parallel()
	var failures atomic.Int32
	s := start(t, Options{TickEvery: -1, Middleware: func(entryPoint string, function http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if entryPoint == Claim && failures.Add(1) <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			function.ServeHTTP(w, r)
		})
	}})
	create(t, s, s.Config().Collections.KeyPackages+"/other")
	create(t, s, s.Config().Collections.Requests+"/mine")

	c := awaitCall(t, s, Claim)
	if c.Error != "" || !strings.HasSuffix(c.Document, "/mine") || c.Value != "hello" || c.Topic != topicSetting {
		t.Errorf("the function got %+v", c)
	}
	if got := failures.Load(); got != 3 {
		t.Errorf("%d calls, want two refused ones and a third", got)
	}
}

func create(t *testing.T, s *Suite, path string) {
	t.Helper()
	client, err := firestore.NewClient(t.Context(), s.Config().Project)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Doc(path).Create(t.Context(), map[string]any{"greeting": "hello"}); err != nil {
		t.Fatal(err)
	}
}

func TestPublishedMessageReachesDeliver(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TickEvery: -1, RelayDeliveryURL: "http://127.0.0.1:9/deliveries"})
	publish(t, s, "first")
	if c := awaitCall(t, s, Deliver); c.Error != "" || string(c.Data) != "first" || c.DeliveryAttempt != 1 {
		t.Errorf("the function got %+v", c)
	}

	if err := s.Restart(t.Context(), Deliver); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "second")
	eventually(t, "a restarted function serves", func() bool {
		calls := calls(t, s, Deliver)
		return string(calls[len(calls)-1].Data) == "second"
	})
}

func publish(t *testing.T, s *Suite, data string) {
	t.Helper()
	topic := "projects/" + s.Config().Project + "/topics/" + s.Config().DeliveryTopic
	message := &pubsubpb.PubsubMessage{Data: []byte(data)}
	if _, err := s.pubsub.TopicAdminClient.Publish(t.Context(), &pubsubpb.PublishRequest{Topic: topic, Messages: []*pubsubpb.PubsubMessage{message}}); err != nil {
		t.Fatal(err)
	}
}

func TestTick(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TickEvery: time.Millisecond})
	awaitCall(t, s, Expire)
	if err := s.Tick(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two people may press the same button: of a process that was started twice only one would be known, and end for want of the port.
func TestRestartsAtTheSameTimeLeaveOneProcess(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TickEvery: -1})
	var restarts errgroup.Group
	for range 4 {
		restarts.Go(func() error { return s.Restart(t.Context(), Claim) })
	}
	if err := restarts.Wait(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-s.Failed():
		t.Error(err)
	case <-time.After(time.Second): // longer than a process needs to find that its port is taken
	}
}

func TestFunctionsRefuseStrangers(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TickEvery: -1})
	for entryPoint, url := range s.Addresses().Functions {
		res, err := http.Post(url, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: status %d, want 401", entryPoint, res.StatusCode)
		}
	}
}

func TestStopLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), Options{}) // with emulators of its own
	if err != nil {
		t.Fatal(err)
	}
	addresses := []string{s.emulators.Firestore.Addr(), s.emulators.PubSub.Addr(), s.issuer.Host()}
	for _, c := range s.children {
		addresses = append(addresses, c.Addr())
	}
	for _, url := range s.addresses.Functions {
		addresses = append(addresses, strings.TrimPrefix(url, "http://"))
	}
	for _, addr := range addresses {
		if err := process.Listens(t.Context(), addr); err != nil {
			t.Errorf("before Stop: %v", err)
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range addresses {
		if err := process.Listens(t.Context(), addr); err == nil {
			t.Errorf("after Stop something listens at %s", addr)
		}
	}
	select {
	case err := <-s.Failed():
		t.Errorf("a stopped process counts as failed: %v", err)
	default:
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() }) // the cases run when this function has returned
	port := busy.Addr().(*net.TCPAddr).Port
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx  context.Context
		opts Options
		want string
	}{
		"busy relay port":    {t.Context(), Options{Ports: Ports{Gateway: port}}, "RelayGateway: port"},
		"busy function port": {t.Context(), Options{Ports: Ports{Claim: port}}, "ClaimKeyPackages: port"},
		"wrong setting":      {t.Context(), Options{FunctionEnv: map[string]string{"ROLLOUT_MODE": "on"}}, "ROLLOUT_MODE"},
		"interrupted":        {ended, Options{}, "context canceled"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "wrong setting" {
				test.opts.Progress = func(what string) { t.Errorf("before the setting is refused: %s", what) }
			}
			test.opts.Project, test.opts.Emulators = emutest.Project(t), emutest.Emulators(t)
			s, err := Start(test.ctx, test.opts)
			if err == nil {
				_ = s.Stop()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if strings.HasPrefix(name, "busy") && !errors.Is(err, process.ErrPortInUse) {
				t.Errorf("error %v, want ErrPortInUse", err)
			}
		})
	}
}

// awaitCall returns the first call that a stand-in function has logged.
func awaitCall(t *testing.T, s *Suite, entryPoint string) call {
	t.Helper()
	eventually(t, "a call of "+entryPoint, func() bool { return len(calls(t, s, entryPoint)) > 0 })
	return calls(t, s, entryPoint)[0]
}

// calls returns what a stand-in function has logged so far, whole lines only.
func calls(t *testing.T, s *Suite, entryPoint string) []call {
	t.Helper()
	log, err := os.ReadFile(s.LogFile(entryPoint))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(log), "\n")
	var out []call
	for _, line := range lines[:len(lines)-1] {
		var c call
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%s logged %q", entryPoint, line)
		}
		out = append(out, c)
	}
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
