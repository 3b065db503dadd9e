package deploy

import (
	"archive/zip"
	"context"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	root      = "../.." // of the repository
	framework = "github.com/GoogleCloudPlatform/functions-framework-go"
)

// buildTime bounds each command of a build: with a cold cache the functions take minutes.
const buildTime = 15 * time.Minute

// generatedMain is what the buildpack puts beside the functions if their root package imports the framework: a program
// that registers everything and serves what FUNCTION_TARGET names.
const generatedMain = `package main

import (
	"log"
	"os"

	_ "MODULE"

	"` + framework + `/funcframework"
)

func main() {
	if err := funcframework.Start(os.Getenv("PORT")); err != nil {
		log.Fatalf("Function failed to start: %v\n", err)
	}
}
`

// image is the program that the buildpack would make of the upload, and the directory of its source.
type image struct{ program, source string }

var theImage struct {
	sync.Once
	image
	dir string
}

// build makes the image once for all tests of the package; removed by TestMain.
func build(t *testing.T) image {
	t.Helper()
	theImage.Do(func() {
		dir, err := os.MkdirTemp("", "upload-")
		if err != nil {
			t.Fatal(err)
		}
		theImage.dir = dir
		theImage.image = buildAsBuildpack(t, dir)
	})
	if theImage.program == "" {
		t.Fatal("the upload could not be built; see the test that tried first")
	}
	return theImage.image
}

// buildAsBuildpack follows cmd/go/functions_framework of github.com/GoogleCloudPlatform/buildpacks, step by step.
func buildAsBuildpack(t *testing.T, dir string) image {
	t.Helper()
	source := filepath.Join(dir, "serverless_function_source_code")
	upload := filepath.Join(dir, "upload.zip")
	command(t, root, "go", "run", "./terraform/upload", "-o", upload)
	unpack(t, upload, source)
	checkRoot(t, source)

	module := strings.TrimSpace(command(t, source, "go", "list", "-m"))
	if host, _, _ := strings.Cut(module, "/"); !strings.Contains(host, ".") {
		t.Fatalf("the first element of the module path %s needs a dot", module)
	}
	app := filepath.Join(source, "functions.local", "app")
	if err := os.MkdirAll(app, 0o755); err != nil {
		t.Fatal(err)
	}
	main := strings.ReplaceAll(generatedMain, "MODULE", module)
	if err := os.WriteFile(filepath.Join(app, "main.go"), []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, source, "go", "mod", "tidy")
	program := filepath.Join(dir, "main")
	command(t, source, "go", "build", "-o", program, "./functions.local/app")
	return image{program, source}
}

// checkRoot makes the buildpack's checks: one Go package in the root, which imports the framework itself, and a name that
// is not mistaken for a directory.
func checkRoot(t *testing.T, source string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go file in the root of the upload (%v)", err)
	}
	names, imported := make(map[string]bool), false
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		names[file.Name.Name] = true
		for _, spec := range file.Imports {
			imported = imported || spec.Path.Value == `"`+framework+`/functions"`
		}
		if _, err := os.Stat(filepath.Join(source, file.Name.Name)); err == nil {
			t.Errorf("%s is the name of the root package and of a directory: the buildpack would import the directory", file.Name.Name)
		}
	}
	if len(names) != 1 || names["main"] {
		t.Fatalf("the root must hold one package, and not main; it holds %v", names)
	}
	if !imported {
		t.Fatal("the root package must import the framework's functions package: otherwise the buildpack expects the entry points in it")
	}
}

func unpack(t *testing.T, name, into string) {
	t.Helper()
	archive, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, entry := range archive.File {
		target := filepath.Join(into, filepath.FromSlash(entry.Name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		content, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, data, entry.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// command runs a command that must succeed and returns its standard output.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errors.String())
	}
	return string(out)
}
