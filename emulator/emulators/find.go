package emulators

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// The environment variables that name an emulator's jar file; they win over every other place.
const (
	FirestoreJarVariable = "FIRESTORE_EMULATOR_JAR"
	PubSubJarVariable    = "PUBSUB_EMULATOR_JAR"
)

// product is one of the two official emulators and where its distributors put it.
type product struct {
	title     string
	variable  string // environment variable with the path of the jar
	sdkJar    string // glob under the root of the Google Cloud CLI
	cacheJar  string // glob under the emulator cache of firebase-tools
	component string // of the Google Cloud CLI
	setup     string // firebase-tools command
	mainClass string // for a jar whose manifest names none
	release   release
}

var (
	firestoreProduct = product{
		title:     "Firestore emulator",
		variable:  FirestoreJarVariable,
		sdkJar:    "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
		cacheJar:  "cloud-firestore-emulator-v*.jar",
		component: "cloud-firestore-emulator",
		setup:     "setup:emulators:firestore",
		mainClass: "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
		release:   firestoreRelease,
	}
	pubsubProduct = product{
		title:     "Pub/Sub emulator",
		variable:  PubSubJarVariable,
		sdkJar:    "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
		cacheJar:  "pubsub-emulator-*/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
		component: "pubsub-emulator",
		setup:     "setup:emulators:pubsub",
		mainClass: "com.google.cloud.pubsub.testing.v1.Main",
		release:   pubsubRelease,
	}
)

// Installation is what is needed to run the emulators: absolute paths of the Java runtime and of the two jars.
type Installation struct {
	Java      string
	Firestore string
	PubSub    string
}

// Find looks for the Java runtime and for the emulators, and downloads an emulator that is not installed: once, at a
// pinned version, into the user's cache directory. progress is told of downloads and may be nil. The error names what is
// missing and its cure.
func Find(ctx context.Context, progress func(string)) (Installation, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // only the cache of firebase-tools depends on it
	}
	download := func(r release) (string, error) {
		d, err := newDownloader(os.Getenv, progress)
		if err != nil {
			return "", err
		}
		return d.jar(ctx, r)
	}
	return search{getenv: os.Getenv, lookPath: exec.LookPath, home: home, download: download}.find()
}

// search holds what finding depends on, so that tests can point it at directories of their own.
type search struct {
	getenv   func(string) string
	lookPath func(string) (string, error)
	home     string
	download func(release) (jar string, err error)
}

func (s search) find() (Installation, error) {
	java, err := s.java()
	if err != nil {
		return Installation{}, err // before anything is downloaded that could not run
	}
	firestore, errFirestore := s.jar(firestoreProduct)
	pubsub, errPubSub := s.jar(pubsubProduct)
	if err := errors.Join(errFirestore, errPubSub); err != nil {
		return Installation{}, err
	}
	return Installation{Java: java, Firestore: firestore, PubSub: pubsub}, nil
}

// place is somewhere an emulator may be. find returns "" when it is not there.
type place struct {
	name string
	find func(product) (string, error)
}

// places are asked in this order, before anything is downloaded.
func (s search) places() []place {
	return []place{
		{"the environment", s.inEnvironment},
		{"the installed Google Cloud CLI", s.inCloudCLI},
		{"the emulator cache of firebase-tools", s.inFirebaseCache},
	}
}

func (s search) jar(p product) (string, error) {
	var looked []string
	for _, at := range s.places() {
		jar, err := at.find(p)
		if err != nil {
			return "", fmt.Errorf("%s, in %s: %w", p.title, at.name, err)
		}
		if jar != "" {
			return jar, nil
		}
		looked = append(looked, at.name)
	}
	jar, err := s.download(p.release)
	if err != nil {
		return "", fmt.Errorf("the %s is not installed (looked in %s) and could not be downloaded: %w\n"+
			"Install it with one of\n"+
			"    gcloud components install %s\n"+
			"    npx firebase-tools %s\n"+
			"or set %s to the path of its jar, or %s to the URL of a mirror",
			p.title, strings.Join(looked, ", "), err, p.component, p.setup, p.variable, DownloadVariable)
	}
	return jar, nil
}

func (s search) inEnvironment(p product) (string, error) {
	jar := s.getenv(p.variable)
	if jar == "" {
		return "", nil
	}
	if _, err := os.Stat(jar); err != nil {
		return "", fmt.Errorf("%s: %w", p.variable, err)
	}
	return filepath.Abs(jar)
}

// inCloudCLI follows the gcloud command to its installation, because asking it (`gcloud info`) takes a second.
func (s search) inCloudCLI(p product) (string, error) {
	command, err := s.lookPath("gcloud")
	if err != nil {
		return "", nil
	}
	binary, err := filepath.EvalSymlinks(command)
	if err != nil {
		return "", nil
	}
	root := filepath.Dir(filepath.Dir(binary))
	if _, err := os.Stat(filepath.Join(root, "platform")); err != nil {
		out, err := exec.Command(command, "info", "--format=value(installation.sdk_root)").Output()
		if err != nil {
			return "", nil
		}
		root = strings.TrimSpace(string(out))
	}
	return newest(filepath.Join(root, p.sdkJar))
}

func (s search) inFirebaseCache(p product) (string, error) {
	cache := s.getenv("FIREBASE_EMULATORS_PATH")
	if cache == "" {
		cache = filepath.Join(s.home, ".cache", "firebase", "emulators")
	}
	return newest(filepath.Join(cache, p.cacheJar))
}

// newest returns the match of a glob with the highest version number in its name, or "".
func newest(glob string) (string, error) {
	matches, err := filepath.Glob(glob)
	if err != nil || len(matches) == 0 {
		return "", err
	}
	return slices.MaxFunc(matches, compareVersions), nil
}

func (s search) java() (string, error) {
	if home := s.getenv("JAVA_HOME"); home != "" {
		if java, err := s.lookPath(filepath.Join(home, "bin", "java")); err == nil {
			return java, nil
		}
	}
	java, err := s.lookPath("java")
	if err != nil {
		return "", fmt.Errorf("the emulators need a Java runtime and none was found in JAVA_HOME or PATH. Install it with\n    %s", installJava())
	}
	return java, nil
}

func installJava() string {
	switch runtime.GOOS {
	case "darwin":
		return "brew install openjdk"
	case "windows":
		return "winget install EclipseAdoptium.Temurin.21.JRE"
	default:
		return "sudo apt-get install default-jre-headless    # or your distribution's OpenJDK, version 17 or later"
	}
}
