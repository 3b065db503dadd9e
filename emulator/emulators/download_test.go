package emulators

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mirror serves published files, and a downloader gets them into a directory of its own.
type mirror struct {
	downloader
	t        *testing.T
	requests atomic.Int32

	mu    sync.Mutex
	lines []string // of progress
}

func newMirror(t *testing.T, serve http.HandlerFunc) *mirror {
	m := &mirror{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.requests.Add(1)
		serve(w, r)
	}))
	t.Cleanup(server.Close)
	m.downloader = downloader{mirror: server.URL + "/files/", cache: filepath.Join(t.TempDir(), "cache"), progress: m.note}
	return m
}

func (m *mirror) note(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
}

// want gets a release, which must then be the content, after a number of requests in all.
func (m *mirror) want(r release, content []byte, requests int32) {
	m.t.Helper()
	jar, err := m.get(m.t.Context(), r)
	if err != nil {
		m.t.Fatal(err)
	}
	got, err := os.ReadFile(jar)
	if err != nil || !bytes.Equal(got, content) {
		m.t.Errorf("%s has %d bytes, %v; want the %d published ones", jar, len(got), err, len(content))
	}
	if got := m.requests.Load(); got != requests {
		m.t.Errorf("%d requests, want %d", got, requests)
	}
}

// wantFiles says what the cache has, besides the lock.
func (m *mirror) wantFiles(want ...string) {
	m.t.Helper()
	entries, err := os.ReadDir(m.cache)
	if err != nil {
		m.t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		if entry.Name() != "lock" {
			got = append(got, entry.Name())
		}
	}
	if !slices.Equal(got, want) {
		m.t.Errorf("the cache has %v, want %v", got, want)
	}
}

func (m *mirror) damage(name string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.cache, name), []byte("damaged"), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

var content = bytes.Repeat([]byte("emulator"), 100_000)

func released(name string, content []byte) release {
	sum := sha256.Sum256(content)
	return release{file: name, sha256: hex.EncodeToString(sum[:])}
}

func serving(name string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/files/"+name {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	}
}

func TestDownloadOnce(t *testing.T) {
	t.Parallel()
	m := newMirror(t, serving("a.jar", content))
	r := released("a.jar", content)
	m.want(r, content, 1)
	m.want(r, content, 1)
	m.damage("a.jar")
	m.want(r, content, 2)
	m.wantFiles("a.jar")
}

func TestDownloadIsVisible(t *testing.T) {
	t.Parallel()
	m := newMirror(t, serving("a.jar", content))
	m.want(released("a.jar", content), content, 1)
	if first := m.lines[0]; !strings.Contains(first, m.mirror+"a.jar") || !strings.Contains(first, m.cache) {
		t.Errorf("the first line is %q, want one with source and destination", first)
	}
	if half := "[##########          ]  50 %, 0.4 of 0.8 MB"; !slices.Contains(m.lines, half) {
		t.Errorf("no line %q in %q", half, m.lines)
	}
	if last, want := m.lines[len(m.lines)-1], "[####################] 100 %, 0.8 of 0.8 MB"; last != want {
		t.Errorf("the last line is %q, want %q", last, want)
	}
}

func TestUnpackArchive(t *testing.T) {
	t.Parallel()
	archive := archived(t, map[string][]byte{"e/lib/e-1.jar": content, "e/bin/e": nil})
	m := newMirror(t, serving("e.zip", archive))
	r := released("e.zip", archive)
	r.inside = "e/lib/e-*.jar"
	m.want(r, content, 1)
	m.want(r, content, 1)
	m.wantFiles("e")

	r.inside = "e/lib/other.jar"
	if _, err := m.get(t.Context(), r); err == nil || !strings.Contains(err.Error(), "there is no e/lib/other.jar") {
		t.Errorf("error %v, want one that says what the archive lacks", err)
	}
}

func archived(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for name, data := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func TestRefusedDownloadLeavesNothing(t *testing.T) {
	t.Parallel()
	other := bytes.Repeat([]byte("imposter"), 100_000)
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  string // in the error
	}{
		"other content": {serving("a.jar", other), "not the published file: its SHA-256 is " + released("", other).sha256},
		"too long":      {serving("a.jar", append(bytes.Clone(content), 'x')), "not the published file"},
		"too short":     {serving("a.jar", content[1:]), "not the published file"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:len(content)/2])
		}, "unexpected EOF"},
		"missing": {http.NotFound, "404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, c.serve)
			_, err := m.get(t.Context(), released("a.jar", content))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), m.mirror+"a.jar") {
				t.Errorf("error %v, want one with %q and the URL", err, c.want)
			}
			m.wantFiles()
		})
	}
}

func TestCancelledDownloadLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	m.progress = func(line string) {
		if strings.HasPrefix(line, "[") { // in the middle
			cancel()
		}
	}
	if _, err := m.get(ctx, released("a.jar", content)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	m.wantFiles()
}

func TestTheMirrorIsAskedInsteadOfThePublisher(t *testing.T) {
	t.Parallel()
	m := newMirror(t, serving("a.jar", content))
	r := released("a.jar", content)
	r.at = "http://publisher.invalid/a%2Bb"
	m.want(r, content, 1)

	m.damage("a.jar")
	r.at, m.mirror = m.mirror, ""
	m.want(r, content, 2)

	r.at, m.cache = "http://publisher.invalid/a%2Bb", t.TempDir()
	if _, err := m.get(t.Context(), r); err == nil || !strings.Contains(err.Error(), "http://publisher.invalid/a%2Bb/a.jar") {
		t.Errorf("error %v, want one with the publisher's URL", err)
	}
}

func TestMirrorFromTheEnvironmentAndCacheOfTheUser(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", "")
	m := newMirror(t, serving("a.jar", content))
	t.Setenv(mirrorVariable, m.mirror)
	jar, err := newSearch(m.note).download(t.Context(), released("a.jar", content))
	if err != nil || !strings.HasPrefix(jar, home) || m.requests.Load() != 1 {
		t.Errorf("%s=%q leads to %q after %d requests, %v", mirrorVariable, m.mirror, jar, m.requests.Load(), err)
	}
}

func TestReleasesAreWhatTheSearchExpects(t *testing.T) {
	t.Parallel()
	for _, p := range products {
		checkRelease(t, p.release)
		inCache := p.release.file // as firebase-tools keeps it
		if p.release.inside != "" {
			inCache = strings.TrimSuffix(p.release.file, ".zip") + "/" + p.release.inside
		}
		if ok, err := filepath.Match(p.cacheJar, inCache); !ok {
			t.Errorf("%s: %s does not match %s (%v)", p.title, inCache, p.cacheJar, err)
		}
	}
}

func TestJavaIsPublishedForEveryCommonPlatform(t *testing.T) {
	t.Parallel()
	names := map[string]string{"linux": "linux", "darwin": "mac", "amd64": "x64", "arm64": "aarch64"} // as the publisher calls them
	sums := map[string]bool{}
	for _, system := range []string{"linux", "darwin"} {
		for _, machine := range []string{"amd64", "arm64"} {
			r := javaReleases[system+"/"+machine]
			checkRelease(t, r)
			sums[r.sha256] = true
			if want := "jre_" + names[machine] + "_" + names[system] + "_"; !strings.Contains(r.file, want) {
				t.Errorf("%s/%s gets %q, want %q in its name", system, machine, r.file, want)
			}
		}
	}
	if len(sums) != len(javaReleases) {
		t.Errorf("%d checksums for %d releases", len(sums), len(javaReleases))
	}
}

func checkRelease(t *testing.T, r release) {
	t.Helper()
	if sum, err := hex.DecodeString(r.sha256); err != nil || len(sum) != sha256.Size {
		t.Errorf("%s: %q is no SHA-256", r.file, r.sha256)
	}
	if _, err := url.Parse(r.at); err != nil || !strings.HasPrefix(r.at, "https://") {
		t.Errorf("%s: published at %q, %v", r.file, r.at, err)
	}
}
