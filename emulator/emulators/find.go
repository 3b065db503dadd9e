package emulators

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
		setup:     "npx firebase-tools setup:emulators:firestore",
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
		setup:     "npx firebase-tools setup:emulators:pubsub",
		mainClass: "com.google.cloud.pubsub.testing.v1.Main",
		release:   pubsubRelease,
	}
	both = []product{firestoreProduct, pubsubProduct}
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
	return search{os.Getenv, exec.LookPath, home, javaReleases[platform], download}.find(ctx)
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
	jars := map[string]string{}
	var lacking []product
	for _, p := range both {
		if jars[p.title], err = s.installed(p); err != nil {
			return Installation{}, fmt.Errorf("%s: %w", p.title, err)
		}
		if jars[p.title] == "" {
			lacking = append(lacking, p)
		}
	}
	for i, p := range lacking {
		if jars[p.title], err = s.download(p.release); err != nil {
			return Installation{}, s.missing(lacking[i:], err)
		}
	}
	return Installation{java, jars[firestoreProduct.title], jars[pubsubProduct.title]}, nil
}

// installed returns the jar that the environment names, or else that of the installed Google Cloud CLI, or else that of the
// emulator cache of firebase-tools, or "".
func (s search) installed(p product) (string, error) {
	if jar := s.getenv(p.variable); jar != "" {
		if _, err := os.Stat(jar); err != nil {
			return "", fmt.Errorf("%s: %w", p.variable, err)
		}
		return filepath.Abs(jar)
	}
	if root := s.cloudCLI(); root != "" {
		if jar, err := newest(filepath.Join(root, p.sdkJar)); err != nil || jar != "" {
			return jar, err
		}
	}
	cache := s.getenv("FIREBASE_EMULATORS_PATH")
	if cache == "" {
		cache = filepath.Join(s.home, ".cache", "firebase", "emulators")
	}
	return newest(filepath.Join(cache, p.cacheJar))
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

// newest returns the match of a glob with the highest version number in its name, or "".
func newest(glob string) (string, error) {
	matches, err := filepath.Glob(glob)
	if err != nil || len(matches) == 0 {
		return "", err
	}
	return slices.MaxFunc(matches, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) }), nil
}

var number = regexp.MustCompile(`\d+`)

// numbers returns those in a name, by which 1.19.10 is newer than 1.19.9.
func numbers(name string) (all []int) {
	for _, digits := range number.FindAllString(name, -1) {
		n, _ := strconv.Atoi(digits) // one that is too large for any version becomes the largest
		all = append(all, n)
	}
	return all
}

// missing says, in two lines, which products could not be downloaded and how else they are got.
func (s search) missing(lacking []product, cause error) error {
	list := func(of func(product) string, between string) string {
		var all []string
		for _, p := range lacking {
			all = append(all, of(p))
		}
		return strings.Join(all, between)
	}
	var install string
	switch root := s.cloudCLI(); {
	case root == "":
		install = list(func(p product) string { return p.setup }, " && ")
	case packaged(root):
		install = "sudo apt-get install " + list(func(p product) string { return p.pkg }, " ")
	default:
		install = "gcloud components install " + list(func(p product) string { return p.component }, " ")
	}
	return fmt.Errorf("not installed: %s, and the download failed: %w\n"+
		"Install with `%s`, or set %s to the URL of a mirror, or %s to the path of a jar",
		list(func(p product) string { return p.title }, ", "), cause, install, DownloadVariable,
		list(func(p product) string { return p.variable }, " and "))
}

// packaged reports whether a Google Cloud CLI is a distribution's package. Such a one refuses to install components.
func packaged(root string) bool {
	var config struct {
		DisableUpdater bool `json:"disable_updater"`
	}
	content, err := os.ReadFile(filepath.Join(root, "lib", "googlecloudsdk", "core", "config.json"))
	return err == nil && json.Unmarshal(content, &config) == nil && config.DisableUpdater
}
