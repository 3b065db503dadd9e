// Command upload makes the zip that Terraform deploys: the files that .gcloudignore leaves, as `gcloud functions deploy` would send.
// The same files make the same bytes, so that functions are deployed anew only when their code changes.
//
//	go run ./terraform/upload              in the repository's root: makes terraform/upload.zip
//	go run ./terraform/upload -list        shows the files
package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
)

func main() {
	command.Main("upload", func(_ context.Context, args []string) error {
		flags := flag.NewFlagSet("upload", flag.ContinueOnError)
		out := flags.String("o", "terraform/upload.zip", "`file` to write the zip to")
		show := flags.Bool("list", false, "show the files instead")
		if err := command.Parse(flags, args); err != nil {
			return err
		}
		return run(os.DirFS("."), *out, *show)
	})
}

func run(root fs.FS, out string, show bool) error {
	text, err := fs.ReadFile(root, ".gcloudignore")
	if err != nil {
		return fmt.Errorf("run this in the repository's root: %w", err)
	}
	rules, err := parseRules(string(text))
	if err != nil {
		return fmt.Errorf(".gcloudignore: %w", err)
	}
	names, err := list(root, rules)
	if err != nil {
		return err
	}
	if show {
		fmt.Println(strings.Join(names, "\n"))
		return nil
	}
	content, err := pack(root, names)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d files, %d KiB, sha256 %x\n", out, len(names), len(content)/1024, sha256.Sum256(content))
	return os.WriteFile(out, content, 0o600)
}

// rule is a line of .gcloudignore, of which only patterns of one path element are understood.
type rule struct {
	pattern  string // as path.Match
	include  bool   // the line begins with !
	rooted   bool   // the line begins with /: applies at the root only
	dirsOnly bool   // the line ends with /
}

// parseRules reads the file. A line that gcloud might understand differently is an error.
func parseRules(text string) ([]rule, error) {
	var rules []rule
	for whole := range strings.Lines(text) {
		line := strings.TrimSpace(whole)
		if line == "" || strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "#!") { // #!include is a directive
			continue
		}
		var r rule
		line, r.include = strings.CutPrefix(line, "!")
		line, r.rooted = strings.CutPrefix(line, "/")
		r.pattern, r.dirsOnly = strings.CutSuffix(line, "/")
		if r.pattern == "" || strings.ContainsAny(r.pattern, `/\[]?!#`) || strings.Contains(r.pattern, "**") {
			return nil, fmt.Errorf("%q is not a line that is understood here", whole)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// ignored says whether the rules leave out the entry. As in gitignore the last rule that matches decides.
func ignored(rules []rule, name string, isDir bool) (out bool) {
	for _, r := range rules {
		matches, _ := path.Match(r.pattern, path.Base(name))
		if matches && (isDir || !r.dirsOnly) && (!r.rooted || !strings.Contains(name, "/")) {
			out = !r.include
		}
	}
	return out
}

// list returns the files that go to the cloud. What lies in an ignored directory is ignored, whatever later rules say.
func list(root fs.FS, rules []rule) (names []string, err error) {
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		switch out := ignored(rules, name, entry.IsDir()); {
		case out && entry.IsDir():
			return fs.SkipDir
		case out || entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", name)
		}
		names = append(names, name)
		return nil
	})
	return names, err
}

// pack makes a zip in which nothing depends on when, where and by whom it was made. The buildpack changes go.mod: files are writable.
func pack(root fs.FS, names []string) ([]byte, error) {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	epoch := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) // the first that the format can express
	for _, name := range names {
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
		header.SetMode(0o644)
		file, err := archive.CreateHeader(header)
		if err == nil {
			_, err = file.Write(content)
		}
		if err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return buffer.Bytes(), err
}
