package emulators

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
)

// minJava is the oldest Java that is used. The emulators' classes are made for 11 (Firestore) and 8 (Pub/Sub), but 17 is
// the oldest that this project is tested with.
const minJava = 17

// java returns the runtime in JAVA_HOME, or else in PATH, that is new enough, or else the downloaded one.
func (s search) java(ctx context.Context) (string, error) {
	commands := []string{"java"}
	if home := s.getenv("JAVA_HOME"); home != "" {
		commands = []string{filepath.Join(home, "bin", "java"), "java"}
	}
	for _, command := range commands {
		java, err := s.lookPath(command)
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
			missing, err, installJava(), DownloadVariable)
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
	default:
		return "sudo apt-get install openjdk-17-jre-headless"
	}
}
