package emulators

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	sdkFirestore   = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
	sdkPubSub      = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-0.8.20-all.jar"
	cacheFirestore = ".cache/firebase/emulators/cloud-firestore-emulator-v1.19.10.jar"
	cachePubSub    = ".cache/firebase/emulators/pubsub-emulator-0.8.14/pubsub-emulator/lib/cloud-pubsub-emulator-0.8.14-all.jar"
)

// machine is a fake of what a search looks at: a home directory, and the only directory in PATH. As these are the process's, no
// test that uses it runs in parallel.
type machine struct {
	t    *testing.T
	root string

	downloads []string // files that were asked for
	published bool     // whether they could be had
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, root: t.TempDir()}
	t.Setenv("HOME", m.root)
	t.Setenv("PATH", filepath.Join(m.root, "usr/bin"))
	for _, name := range []string{"JAVA_HOME", "FIREBASE_EMULATORS_PATH", firestore.variable, pubsub.variable} {
		t.Setenv(name, "")
	}
	m.javaFile("usr/bin/java", "17.0.15")
	return m
}

// javaFile makes a program that tells a version as Java does. A process that a parallel test started in that moment would hold
// the file open for writing, and a file held so cannot be run.
func (m *machine) javaFile(name, version string) string {
	m.t.Helper()
	path := m.file(name)
	script := fmt.Sprintf("#!/bin/sh\necho 'openjdk version \"%s\" 2025-04-15' >&2\n", version)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *machine) file(name string) string {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// installCloudCLI puts gcloud into PATH as a link, as distributions do.
func (m *machine) installCloudCLI() {
	m.t.Helper()
	if err := os.Symlink(m.file("sdk/bin/gcloud"), filepath.Join(m.root, "usr/bin/gcloud")); err != nil {
		m.t.Fatal(err)
	}
	m.file("sdk/" + sdkFirestore)
	m.file("sdk/" + sdkPubSub)
}

func (m *machine) find() (installation, error) {
	return search{runtime: release{file: "java"}, download: m.download}.find(m.t.Context())
}

func (m *machine) download(_ context.Context, r release) (string, error) {
	m.downloads = append(m.downloads, r.file)
	if !m.published {
		return "", errOffline
	}
	if r.file == "java" {
		return m.javaFile("downloads/java", "17.0.14"), nil
	}
	return m.file("downloads/" + r.file), nil
}

var errOffline = errors.New("no route to host")

func TestFindOrder(t *testing.T) {
	m := newMachine(t)
	assert := func(wantFirestore, wantPubSub string) {
		t.Helper()
		got, err := m.find()
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{
			got.java: "usr/bin/java", got.jars[firestore.name]: wantFirestore, got.jars[pubsub.name]: wantPubSub,
		} {
			if resolved(t, path) != resolved(t, filepath.Join(m.root, want)) {
				t.Errorf("found %s, want %s", path, want)
			}
		}
	}
	m.file(strings.Replace(cacheFirestore, "1.19.10", "1.19.9", 1))
	m.file(cacheFirestore)
	m.file(cachePubSub)
	assert(cacheFirestore, cachePubSub)

	m.installCloudCLI()
	assert("sdk/"+sdkFirestore, "sdk/"+sdkPubSub)

	t.Setenv(pubsub.variable, m.file("mine.jar"))
	assert("sdk/"+sdkFirestore, "mine.jar")
	if len(m.downloads) > 0 {
		t.Errorf("downloaded %v, which was installed", m.downloads)
	}
}

func TestDownloadWhatIsNotInstalled(t *testing.T) {
	m := newMachine(t)
	m.published = true
	m.file(cachePubSub)
	got, err := m.find()
	want := filepath.Join(m.root, "downloads", firestore.release.file)
	if err != nil || got.jars[firestore.name] != want || len(m.downloads) != 1 {
		t.Errorf("found %+v, %v, downloads %v; want %s and no other", got, err, m.downloads, want)
	}
}

func TestFindInMovedFirebaseCache(t *testing.T) {
	m := newMachine(t)
	m.file(cacheFirestore)
	m.file(cachePubSub)
	moved := filepath.Join(m.root, "elsewhere")
	if err := os.Rename(filepath.Join(m.root, ".cache/firebase/emulators"), moved); err != nil {
		t.Fatal(err)
	}
	if _, err := m.find(); err == nil {
		t.Error("found where nothing is")
	}
	t.Setenv("FIREBASE_EMULATORS_PATH", moved)
	if _, err := m.find(); err != nil {
		t.Error(err)
	}
}

func TestMissingNamesTheCure(t *testing.T) {
	components := "`gcloud components install cloud-firestore-emulator pubsub-emulator`"
	cases := map[string]struct {
		prepare func(*machine)
		want    string
	}{
		"no gcloud": {func(*machine) {}, "`npx firebase-tools setup:emulators:firestore && npx firebase-tools setup:emulators:pubsub`"},
		"gcloud":    {func(m *machine) { m.installCloudCLI(); m.remove("sdk/platform/*/*") }, components},
		"gcloud that updates itself": {func(m *machine) {
			m.installCloudCLI()
			m.remove("sdk/platform/*/*")
			m.configureCloudCLI(`{"disable_updater": false}`)
		}, components},
		"gcloud of a distribution": {func(m *machine) {
			m.installCloudCLI()
			m.remove("sdk/platform/*/*")
			m.configureCloudCLI(`{"disable_updater": true}`)
		}, "`sudo apt-get install google-cloud-cli-firestore-emulator google-cloud-cli-pubsub-emulator`"},
		"one of a distribution": {func(m *machine) {
			m.installCloudCLI()
			m.remove("sdk/platform/pubsub-emulator/*")
			m.configureCloudCLI(`{"disable_updater": true}`)
		}, "`sudo apt-get install google-cloud-cli-pubsub-emulator`"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.prepare(m)
			_, err := m.find()
			if !errors.Is(err, errOffline) {
				t.Fatalf("error %v, want the one of the download", err)
			}
			for _, cure := range []string{c.want, pubsub.variable, mirrorVariable} {
				if !strings.Contains(err.Error(), cure) {
					t.Errorf("the error does not say %q:\n%v", cure, err)
				}
			}
			if len(m.downloads) != 1 || strings.Count(err.Error(), errOffline.Error()) != 1 || strings.Count(err.Error(), "\n") != 1 {
				t.Errorf("want one try told once in two lines; tried %v, told\n%v", m.downloads, err)
			}
		})
	}
}

func (m *machine) remove(glob string) {
	m.t.Helper()
	matches, err := filepath.Glob(filepath.Join(m.root, glob))
	if err != nil || len(matches) == 0 {
		m.t.Fatalf("nothing to remove: %v", err)
	}
	for _, path := range matches {
		if err := os.RemoveAll(path); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) configureCloudCLI(config string) {
	m.t.Helper()
	if err := os.WriteFile(m.file("sdk/lib/googlecloudsdk/core/config.json"), []byte(config), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func TestVariableThatLeadsNowhereIsAnError(t *testing.T) {
	m := newMachine(t)
	m.installCloudCLI()
	t.Setenv(firestore.variable, filepath.Join(m.root, "missing.jar"))
	_, err := m.find()
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), firestore.variable) {
		t.Errorf("error %v, want one that names %s", err, firestore.variable)
	}
}

// resolved follows links, which some systems' temporary directories have.
func resolved(t *testing.T, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return real
}
