package emulators

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// products are what one message is about.
type products []product

// list joins what of says of each.
func (ps products) list(of func(product) string, between string) string {
	var all []string
	for _, p := range ps {
		all = append(all, of(p))
	}
	return strings.Join(all, between)
}

// missing says, in two lines, which products could not be downloaded and how else they are got.
func (s search) missing(lacking products, cause error) error {
	return fmt.Errorf("not installed: %s, and the download failed: %w\nInstall with `%s`, or set %s to the URL of a mirror, or %s to the path of a jar",
		lacking.list(func(p product) string { return p.title }, ", "), cause, s.install(lacking), DownloadVariable,
		lacking.list(func(p product) string { return p.variable }, " and "))
}

// install is the command that installs products on this machine.
func (s search) install(lacking products) string {
	root := s.cloudCLI()
	switch {
	case root == "":
		const command = "npx firebase-tools "
		return command + lacking.list(func(p product) string { return p.setup }, " && "+command)
	case packaged(root):
		return "sudo apt-get install " + lacking.list(func(p product) string { return p.pkg }, " ")
	default:
		return "gcloud components install " + lacking.list(func(p product) string { return p.component }, " ")
	}
}

// packaged reports whether a Google Cloud CLI is a distribution's package. Such a one refuses to install components.
func packaged(root string) bool {
	content, err := os.ReadFile(filepath.Join(root, "lib", "googlecloudsdk", "core", "config.json"))
	if err != nil {
		return false
	}
	var config struct {
		DisableUpdater bool `json:"disable_updater"`
	}
	return json.Unmarshal(content, &config) == nil && config.DisableUpdater
}
