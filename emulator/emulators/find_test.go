package emulators

import (
	"errors"
	"os"
	"os/exec"
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

// machine is a fake of what a search looks at.
type machine struct {
	t    *testing.T
	root string
	env  map[string]string
	path map[string]string // commands in PATH

	downloads []string // files that were asked for
	published bool     // whether they could be had
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, root: t.TempDir(), env: map[string]string{}, path: map[string]string{}}
	m.path["java"] = m.file("usr/bin/java")
	return m
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
	link := filepath.Join(m.root, "usr/bin/gcloud")
	if err := os.Symlink(m.file("sdk/bin/gcloud"), link); err != nil {
		m.t.Fatal(err)
	}
	m.path["gcloud"] = link
	m.file("sdk/" + sdkFirestore)
	m.file("sdk/" + sdkPubSub)
}

func (m *machine) find() (Installation, error) {
	lookPath := func(name string) (string, error) {
		if path, ok := m.path[name]; ok {
			return path, nil
		}
		if filepath.IsAbs(name) {
			return exec.LookPath(name)
		}
		return "", exec.ErrNotFound
	}
	getenv := func(name string) string { return m.env[name] }
	return search{getenv: getenv, lookPath: lookPath, home: m.root, download: m.download}.find()
}

func (m *machine) download(r release) (string, error) {
	m.downloads = append(m.downloads, r.file)
	if !m.published {
		return "", errOffline
	}
	return m.file("downloads/" + r.file), nil
}

var errOffline = errors.New("no route to host")

func TestFindOrder(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	assert := func(wantFirestore, wantPubSub string) {
		t.Helper()
		got, err := m.find()
		want := Installation{m.path["java"], filepath.Join(m.root, wantFirestore), filepath.Join(m.root, wantPubSub)}
		if err != nil || resolved(t, got) != resolved(t, want) {
			t.Errorf("found %+v, %v; want %+v", got, err, want)
		}
	}
	m.file(strings.Replace(cacheFirestore, "1.19.10", "1.19.9", 1))
	m.file(cacheFirestore)
	m.file(cachePubSub)
	assert(cacheFirestore, cachePubSub)

	m.installCloudCLI()
	assert("sdk/"+sdkFirestore, "sdk/"+sdkPubSub)

	m.env[PubSubJarVariable] = m.file("mine.jar")
	assert("sdk/"+sdkFirestore, "mine.jar")
	if len(m.downloads) > 0 {
		t.Errorf("downloaded %v, which was installed", m.downloads)
	}
}

func TestDownloadWhatIsNotInstalled(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.published = true
	m.file(cachePubSub)
	got, err := m.find()
	want := filepath.Join(m.root, "downloads", firestoreRelease.file)
	if err != nil || got.Firestore != want || len(m.downloads) != 1 {
		t.Errorf("found %+v, %v, downloads %v; want %s and no other", got, err, m.downloads, want)
	}
}

func TestFindInMovedFirebaseCache(t *testing.T) {
	t.Parallel()
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
	m.env["FIREBASE_EMULATORS_PATH"] = moved
	if _, err := m.find(); err != nil {
		t.Error(err)
	}
}

func TestMissingNamesTheCure(t *testing.T) {
	t.Parallel()
	_, err := newMachine(t).find()
	if !errors.Is(err, errOffline) {
		t.Fatalf("error %v, want the one of the download", err)
	}
	for _, cure := range []string{
		"gcloud components install cloud-firestore-emulator", "firebase-tools setup:emulators:firestore", FirestoreJarVariable,
		"gcloud components install pubsub-emulator", "firebase-tools setup:emulators:pubsub", PubSubJarVariable,
		DownloadVariable,
	} {
		if !strings.Contains(err.Error(), cure) {
			t.Errorf("the error does not say %q:\n%v", cure, err)
		}
	}
}

func TestNoDownloadWithoutJava(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.published = true
	delete(m.path, "java")
	_, err := m.find()
	if err == nil || !strings.Contains(err.Error(), installJava()) {
		t.Errorf("error %v, want one that says %q", err, installJava())
	}
	if len(m.downloads) > 0 {
		t.Errorf("downloaded %v, which cannot run", m.downloads)
	}
}

func TestVariableThatLeadsNowhereIsAnError(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.installCloudCLI()
	m.env[FirestoreJarVariable] = filepath.Join(m.root, "missing.jar")
	_, err := m.find()
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), FirestoreJarVariable) {
		t.Errorf("error %v, want one that names %s", err, FirestoreJarVariable)
	}
}

func TestJavaHomeWins(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.installCloudCLI()
	want := m.file("jdk/bin/java")
	m.env["JAVA_HOME"] = filepath.Join(m.root, "jdk")
	if got, err := m.find(); err != nil || got.Java != want {
		t.Errorf("Java %q, %v; want %q", got.Java, err, want)
	}
}

// resolved follows links, which some systems' temporary directories have.
func resolved(t *testing.T, i Installation) Installation {
	t.Helper()
	for _, path := range []*string{&i.Java, &i.Firestore, &i.PubSub} {
		real, err := filepath.EvalSymlinks(*path)
		if err != nil {
			t.Fatal(err)
		}
		*path = real
	}
	return i
}
