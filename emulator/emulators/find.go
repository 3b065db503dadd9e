package emulators

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	pkg       string // of the distributions that package the Google Cloud CLI
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
		pkg:       "google-cloud-cli-firestore-emulator",
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
		pkg:       "google-cloud-cli-pubsub-emulator",
		setup:     "setup:emulators:pubsub",
		mainClass: "com.google.cloud.pubsub.testing.v1.Main",
		release:   pubsubRelease,
	}
	both = products{firestoreProduct, pubsubProduct}
)

// Installation is what is needed to run the emulators: absolute paths of the Java runtime and of the two jars.
type Installation struct {
	Java      string
	Firestore string
	PubSub    string
}

// Find looks for the Java runtime and for the emulators, and downloads what is not installed: once, at a pinned version,
// into the user's cache directory. progress is told of downloads and may be nil. The error names what is missing and the
// command that installs it.
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
		return d.get(ctx, r)
	}
	s := search{getenv: os.Getenv, lookPath: exec.LookPath, home: home, runtime: javaReleases[platform], download: download}
	return s.find(ctx)
}

// search holds what finding depends on, so that tests can point it at directories of their own.
type search struct {
	getenv   func(string) string
	lookPath func(string) (string, error)
	home     string
	runtime  release // of Java; without a file where there is none for the platform
	download func(release) (path string, err error)
}

func (s search) find(ctx context.Context) (Installation, error) {
	java, err := s.java(ctx)
	if err != nil {
		return Installation{}, err // before anything is downloaded that could not run
	}
	jars, err := s.installed()
	if err != nil {
		return Installation{}, err
	}
	var lacking products
	for _, p := range both {
		if jars[p.title] == "" {
			lacking = append(lacking, p)
		}
	}
	for i, p := range lacking {
		if jars[p.title], err = s.download(p.release); err != nil {
			return Installation{}, s.missing(lacking[i:], err)
		}
	}
	return Installation{Java: java, Firestore: jars[firestoreProduct.title], PubSub: jars[pubsubProduct.title]}, nil
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

// installed returns the jars that are in one of the places, by the product's title.
func (s search) installed() (map[string]string, error) {
	jars := map[string]string{}
	var errs []error
	for _, p := range both {
		for _, at := range s.places() {
			jar, err := at.find(p)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s, in %s: %w", p.title, at.name, err))
			}
			if jars[p.title] = jar; jar != "" {
				break
			}
		}
	}
	return jars, errors.Join(errs...)
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

func (s search) inCloudCLI(p product) (string, error) {
	root := s.cloudCLI()
	if root == "" {
		return "", nil
	}
	return newest(filepath.Join(root, p.sdkJar))
}

// cloudCLI follows the gcloud command to the root of its installation, because asking it (`gcloud info`) takes a second.
// It returns "" where there is none.
func (s search) cloudCLI() string {
	command, err := s.lookPath("gcloud")
	if err != nil {
		return ""
	}
	binary, err := filepath.EvalSymlinks(command)
	if err != nil {
		return ""
	}
	root := filepath.Dir(filepath.Dir(binary))
	if _, err := os.Stat(filepath.Join(root, "platform")); err == nil {
		return root
	}
	out, err := exec.Command(command, "info", "--format=value(installation.sdk_root)").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
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
