package emulators

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWhichJavaIsUsed(t *testing.T) {
	const downloaded = "downloads/java"
	cases := map[string]struct {
		home, path string // version of the Java in JAVA_HOME and in PATH, "" if there is none
		want       string
	}{
		"JAVA_HOME wins":       {"17.0.2", "21.0.1", "jdk/bin/java"},
		"newer than asked for": {"", "25", "usr/bin/java"},
		"JAVA_HOME is too old": {"11.0.22", "17.0.15", "usr/bin/java"},
		"JAVA_HOME is ancient": {"1.8.0_392", "17", "usr/bin/java"},
		"both are too old":     {"11.0.22", "16.0.2", downloaded},
		"early access":         {"", "17-ea", "usr/bin/java"},
		"no version":           {"", "unknown", downloaded},
		"none":                 {"", "", downloaded},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.published = true
			m.installCloudCLI()
			m.remove("usr/bin/java")
			if c.home != "" {
				m.javaFile("jdk/bin/java", c.home)
				t.Setenv("JAVA_HOME", filepath.Join(m.root, "jdk"))
			}
			if c.path != "" {
				m.javaFile("usr/bin/java", c.path)
			}
			got, err := m.find()
			if want := filepath.Join(m.root, c.want); err != nil || got.java != want {
				t.Errorf("Java %q, %v; want %q", got.java, err, want)
			}
			if wanted := c.want == downloaded; slices.Contains(m.downloads, "java") != wanted {
				t.Errorf("downloads %v, want Java among them: %v", m.downloads, wanted)
			}
		})
	}
}

func TestNoDownloadWithoutJava(t *testing.T) {
	m := newMachine(t)
	m.remove("usr/bin/java")
	_, err := m.find()
	if !errors.Is(err, errOffline) || !strings.Contains(err.Error(), installJava()) || !strings.Contains(err.Error(), mirrorVariable) {
		t.Errorf("error %v, want the one of the download, and one that says %q and %s", err, installJava(), mirrorVariable)
	}
	if strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two lines:\n%v", err)
	}
	if !slices.Equal(m.downloads, []string{"java"}) {
		t.Errorf("downloaded %v, want no emulator, which cannot run", m.downloads)
	}
}

func TestJavaThatDoesNotRun(t *testing.T) {
	m := newMachine(t)
	failing := m.file("usr/bin/java") // empty, so the system cannot run it
	s := search{runtime: release{file: "java"}, download: func(context.Context, release) (string, error) { return failing, nil }}
	_, err := s.find(t.Context())
	if err == nil || !strings.Contains(err.Error(), "downloaded one cannot be used") || !strings.Contains(err.Error(), installJava()) {
		t.Errorf("error %v, want one that says %q", err, installJava())
	}
	s.runtime = release{}
	_, err = s.find(t.Context())
	if err == nil || !strings.Contains(err.Error(), installJava()) || strings.Contains(err.Error(), "download") {
		t.Errorf("error %v, want no word of a download where none is published", err)
	}
}

// A machine that has Go and nothing else: the runtime comes from a server, is unpacked once, and runs the emulators.
func TestNothingButGoIsNeeded(t *testing.T) {
	silent := func(string) {}
	installed, err := newSearch(silent).find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	archive := tarGz(t, javaArchive(installed.java)...)
	m := newMirror(t, serving("jre.tar.gz", archive))
	java := released("jre.tar.gz", archive)
	java.inside = "*/bin/java"

	t.Setenv("PATH", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	for _, p := range products {
		t.Setenv(p.variable, installed.jars[p.name])
	}
	s := search{java, m.get}
	for range 2 {
		got, err := s.find(t.Context())
		if want := filepath.Join(m.cache, "jre/jdk-17-jre/bin/java"); err != nil || got.java != want {
			t.Fatalf("found %+v, %v; want %s", got, err, want)
		}
		installed = got
	}
	if got := m.requests.Load(); got != 1 {
		t.Errorf("%d requests, want one", got)
	}
	m.wantFiles("jre")
	if last := m.lines[len(m.lines)-1]; !strings.HasPrefix(last, "unpacking ") {
		t.Errorf("the last line is %q, want one about the unpacking", last)
	}

	e := &Emulators{}
	t.Cleanup(func() { _ = e.Stop() })
	if err := e.start(t.Context(), installed, Options{Progress: silent}); err != nil {
		t.Errorf("the emulators do not start with it: %v", err)
	}
}
