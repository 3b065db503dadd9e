package emulators

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// product is one of the two official emulators and where its distributors put it.
type product struct {
	title     string
	name      string // in those of packages, setup commands and logs
	variable  string // environment variable with the path of the jar, which wins over every other place
	sdkJar    string // glob under the root of the Google Cloud CLI
	cacheJar  string // glob under the emulator cache of firebase-tools
	component string // of the Google Cloud CLI
	mainClass string // for a jar whose manifest names none
	release   release
}

// The checksums are those in firebase-tools' src/emulator/downloadableEmulatorInfo.json, 129 MB in all. The versions are
// the published ones just before those of the Google Cloud CLI 528 (1.19.9 and 0.8.20), which this project is tested with.
// Newer ones ask for more Java: firebase-tools went to 21 in the release that took Firestore 1.20.
const publishedAt = "https://storage.googleapis.com/firebase-preview-drop/emulator"

var (
	firestore = product{
		title:     "Firestore emulator",
		name:      "firestore",
		variable:  "FIRESTORE_EMULATOR_JAR",
		sdkJar:    "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
		cacheJar:  "cloud-firestore-emulator-v*.jar",
		component: "cloud-firestore-emulator",
		mainClass: "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
		release: release{
			publishedAt, "cloud-firestore-emulator-v1.19.8.jar",
			"9d43599ed6151199e8d604dc87fac51218e49e5f3a48519b1ae560bbe5e3382d", "",
		},
	}
	pubsub = product{
		title:     "Pub/Sub emulator",
		name:      "pubsub",
		variable:  "PUBSUB_EMULATOR_JAR",
		sdkJar:    "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
		cacheJar:  "pubsub-emulator-*/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
		component: "pubsub-emulator",
		mainClass: "com.google.cloud.pubsub.testing.v1.Main",
		release: release{
			publishedAt, "pubsub-emulator-0.8.17.zip",
			"72a49d14ee6cd4c1a0fee4a46f520fe4d7465396a155c61abc0103905047edd3",
			"pubsub-emulator/lib/cloud-pubsub-emulator-0.8.17-all.jar",
		},
	}
	products = []product{firestore, pubsub}
)

// installation is what is needed to run the emulators: absolute paths of the Java runtime and, by product, of the jars.
type installation struct {
	java string
	jars map[string]string
}

// search is for what is installed, and downloads what is not.
type search struct {
	runtime  release // of Java; without a file where there is none for the platform
	download func(context.Context, release) (path string, err error)
}

func newSearch(progress func(string)) search {
	d := downloader{mirror: os.Getenv(mirrorVariable), progress: progress}
	return search{javaReleases[runtime.GOOS+"/"+runtime.GOARCH], d.get}
}

// find looks for the Java runtime and for the emulators, and downloads what is not installed: once, at a pinned version, into the
// user's cache directory. The error names what is missing and the command that installs it.
func (s search) find(ctx context.Context) (found installation, err error) {
	if found.java, err = s.java(ctx); err != nil {
		return found, err // before anything is downloaded that could not run
	}
	found.jars = map[string]string{}
	var lacking []product
	for _, p := range products {
		jar, err := installed(p)
		if err != nil {
			return found, fmt.Errorf("%s: %w", p.title, err)
		}
		if found.jars[p.name] = jar; jar == "" {
			lacking = append(lacking, p)
		}
	}
	for i, p := range lacking {
		if found.jars[p.name], err = s.download(ctx, p.release); err != nil {
			return found, missing(lacking[i:], err)
		}
	}
	return found, nil
}

// installed returns the jar that the environment names, or else the Google Cloud CLI's, or else that of firebase-tools, or "".
func installed(p product) (string, error) {
	if jar := os.Getenv(p.variable); jar != "" {
		if _, err := os.Stat(jar); err != nil {
			return "", fmt.Errorf("%s: %w", p.variable, err)
		}
		return filepath.Abs(jar)
	}
	if root := cloudCLI(); root != "" {
		if jar, err := newest(filepath.Join(root, p.sdkJar)); err != nil || jar != "" {
			return jar, err
		}
	}
	cache := os.Getenv("FIREBASE_EMULATORS_PATH")
	if cache == "" {
		home, _ := os.UserHomeDir() // nothing is found where there is none
		cache = filepath.Join(home, ".cache", "firebase", "emulators")
	}
	return newest(filepath.Join(cache, p.cacheJar))
}

// cloudCLI returns the root of the installed Google Cloud CLI, or "". It follows the command, because asking it takes a second.
func cloudCLI() string {
	command, err := exec.LookPath("gcloud")
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
	out, _ := exec.Command(command, "info", "--format=value(installation.sdk_root)").Output()
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
func missing(lacking []product, cause error) error {
	list := func(between string, of func(product) string) string {
		var all []string
		for _, p := range lacking {
			all = append(all, of(p))
		}
		return strings.Join(all, between)
	}
	var install string
	switch root := cloudCLI(); {
	case root == "":
		install = list(" && ", func(p product) string { return "npx firebase-tools setup:emulators:" + p.name })
	case packaged(root):
		install = "sudo apt-get install " + list(" ", func(p product) string { return "google-cloud-cli-" + p.name + "-emulator" })
	default:
		install = "gcloud components install " + list(" ", func(p product) string { return p.component })
	}
	titles, variables := list(", ", func(p product) string { return p.title }), list(" and ", func(p product) string { return p.variable })
	return fmt.Errorf("not installed: %s, and the download failed: %w\n"+
		"Install with `%s`, or set %s to the URL of a mirror, or %s to the path of a jar", titles, cause, install, mirrorVariable, variables)
}

// packaged reports whether a Google Cloud CLI is a distribution's package. Such a one refuses to install components.
func packaged(root string) bool {
	var config struct {
		DisableUpdater bool `json:"disable_updater"`
	}
	content, err := os.ReadFile(filepath.Join(root, "lib", "googlecloudsdk", "core", "config.json"))
	return err == nil && json.Unmarshal(content, &config) == nil && config.DisableUpdater
}

// minJava is the oldest Java that this project is tested with. The emulators' classes are made for 11 (Firestore) and 8 (Pub/Sub).
const minJava = 17

// javaReleases has a Java runtime, Eclipse Temurin 17.0.14+7, some 45 MB, for each platform as Go names it.
var javaReleases = map[string]release{
	"linux/amd64":  javaRelease("x64_linux", "a4b0015872758aac6a5d17139e952a3951ee536ae6d9a99828823a80a71add56", "*/bin/java"),
	"linux/arm64":  javaRelease("aarch64_linux", "bab3f352fc7144ac1435924f056872d16f4b32c8bcda58b9a77b636eb1c664f4", "*/bin/java"),
	"darwin/arm64": javaRelease("aarch64_mac", "9fb89125d5807f42cec588824fde487be42273a89c55ccfc5f44efda64e03e2c", "*/*/Home/bin/java"),
	"darwin/amd64": javaRelease("x64_mac", "f2c7454f7aba076cd414887b31da92e4a50fda7a13d97f6e295c911af60de0b6", "*/*/Home/bin/java"),
}

func javaRelease(machine, sha256, inside string) release {
	const at = "https://github.com/adoptium/temurin17-binaries/releases/download/jdk-17.0.14%2B7"
	return release{at, "OpenJDK17U-jre_" + machine + "_hotspot_17.0.14_7.tar.gz", sha256, inside}
}

// java returns the runtime in JAVA_HOME, or else in PATH, that is new enough, or else the downloaded one.
func (s search) java(ctx context.Context) (string, error) {
	commands := []string{"java"}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		commands = []string{filepath.Join(home, "bin", "java"), "java"}
	}
	for _, command := range commands {
		java, err := exec.LookPath(command)
		if err == nil && checkJava(ctx, java) == nil {
			return java, nil
		}
	}
	missing, cure := fmt.Sprintf("no Java %d or newer was found in JAVA_HOME or PATH", minJava), "Install it with `"+installJava()+"`"
	if s.runtime.file == "" {
		return "", fmt.Errorf("%s\n%s", missing, cure)
	}
	java, err := s.download(ctx, s.runtime)
	if err != nil {
		return "", fmt.Errorf("%s, and none could be fetched: %w\n%s, or set %s to the URL of a mirror", missing, err, cure, mirrorVariable)
	}
	if err := checkJava(ctx, java); err != nil {
		return "", fmt.Errorf("%s, and the downloaded one cannot be used: %w\n%s", missing, err, cure)
	}
	return java, nil
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// checkJava runs a Java runtime, which takes some 60 ms: macOS has a java that only says that there is none, and a runtime
// made for another C library does not start.
func checkJava(ctx context.Context, java string) error {
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s -version: %w", java, err)
	}
	found := javaVersion.FindSubmatch(out)
	if found == nil {
		return fmt.Errorf("%s does not tell its version", java)
	}
	if version, err := strconv.Atoi(string(found[1])); err != nil || version < minJava {
		return fmt.Errorf("%s is Java %s", java, found[1])
	}
	return nil
}

func installJava() string {
	switch runtime.GOOS {
	case "darwin":
		return "brew install --cask temurin@17"
	case "windows":
		return "winget install EclipseAdoptium.Temurin.17.JRE"
	}
	return "sudo apt-get install openjdk-17-jre-headless"
}
