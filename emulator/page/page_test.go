package page

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/child"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

func TestMain(m *testing.M) {
	child.Serve()
	os.Exit(emutest.Main(m))
}

// start starts a suite and its page.
func start(t *testing.T) (*Page, *suite.Suite) {
	t.Helper()
	s, err := suite.Start(t.Context(), suite.Options{Project: emutest.Project(t), Emulators: emutest.Emulators(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	page, err := Start(t.Context(), 0, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := page.Stop(); err != nil {
			t.Error(err)
		}
	})
	return page, s
}

// Other sites may send requests here, by a name of their own or from a page of theirs. None does anything.
func TestOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	page, _ := start(t)
	if !strings.HasPrefix(page.URL(), "http://127.0.0.1:") {
		t.Errorf("served at %s", page.URL())
	}
	for name, c := range map[string]struct {
		method, path, host string
		header             http.Header
		want               int
	}{
		"its own":                       {"GET", "", "", nil, 200},
		"by another name":               {"GET", "", "rebound.example", nil, 403},
		"by another name, events":       {"GET", "events", "rebound.example:80", nil, 403},
		"from a page of another site":   {"POST", "play/publish", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"from a page of another port":   {"POST", "crash/ClaimKeyPackages", "", http.Header{"Origin": {"http://127.0.0.1:1"}}, 403},
		"from no page":                  {"POST", "play/publish", "", http.Header{"Origin": {"null"}}, 403},
		"by a link":                     {"GET", "play/publish", "", nil, 405},
		"an action that nobody knows":   {"POST", "play/murder", "", nil, 500},
		"a process that is not its own": {"POST", "crash/pubsub", "", nil, 500},
		"a story of no document":        {"GET", "story/a%2Fb", "", nil, 404},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, page.URL()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host, request.Header = c.host, c.header
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("%s: %d %s, want %d", name, answer.StatusCode, body, c.want)
		}
	}
	if names := page.people.known(); len(names) != 1 {
		t.Errorf("somebody has played: %v", names)
	}
}
