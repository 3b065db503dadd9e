// Package imports tests which way the imports of the whole tree point, and that the tours in package comments leave nothing
// out. What a reader may rely on is written down in rules_test.go, areas_test.go and tours_test.go.
package imports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/keypackage-delivery/keypackage-delivery"

// root is the module's directory, seen from this test.
var root = filepath.Join("..", "..")

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string // without tests
	Imports    []string // of what is not a test

	TestImports, XTestImports []string // of the tests
	Deps                      []string // the same, with everything that comes along
}

// short is the package's path within the module, "." for the root.
func (p pkg) short() string { return short(p.ImportPath) }

func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

// whole returns all packages of the module.
func whole(t *testing.T) []pkg {
	t.Helper()
	packages, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// production returns the packages that are deployed: the root, the functions and what they share.
func production(t *testing.T) []pkg {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(whole(t)), func(p pkg) bool { return areaOf(p.short()) != "deployed" })
}

var listed = sync.OnceValues(func() ([]pkg, error) {
	command := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports,Deps", "./...")
	command.Dir, command.Stderr = root, os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var p pkg
		if err := decoder.Decode(&p); err != nil {
			return nil, fmt.Errorf("read the list of packages: %w", err)
		}
		packages = append(packages, p)
	}
	return packages, nil
})

// within reports whether a path is one of the roots or below one of them.
func within(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// vendors are whose software development kits the rules do not need: clouds and event formats.
var vendors = []string{
	"cloud.google.com", "google.golang.org", "github.com/googleapis", "github.com/GoogleCloudPlatform", "github.com/cloudevents",
}
