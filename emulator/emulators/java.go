package emulators

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
)

// minJava is the oldest Java that is used. The emulators' classes are made for 11 (Firestore) and 8 (Pub/Sub), but 17 is
// the oldest that this project is tested with.
const minJava = 17

// platform is the key of this machine in javaReleases.
const platform = runtime.GOOS + "/" + runtime.GOARCH

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
	missing := fmt.Sprintf("no Java %d or newer was found in JAVA_HOME or PATH", minJava)
	if s.runtime.file == "" {
		return "", fmt.Errorf("%s\nInstall it with `%s`", missing, installJava())
	}
	java, err := s.download(s.runtime)
	if err != nil {
		return "", fmt.Errorf("%s, and none could be fetched: %w\nInstall it with `%s`, or set %s to the URL of a mirror",
			missing, err, installJava(), mirrorVariable)
	}
	if err := checkJava(ctx, java); err != nil {
		return "", fmt.Errorf("%s, and the downloaded one cannot be used: %w\nInstall it with `%s`", missing, err, installJava())
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
