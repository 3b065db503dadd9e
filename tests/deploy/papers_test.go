package deploy

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a reader puts up with: the first page is read as a whole, and a long line is not read at all.
const (
	mostLines   = 200
	mostBytes   = 10_000
	mostColumns = 140
)

// papers returns the text of every page of the repository, by its path from the root.
func papers(t *testing.T) map[string]string {
	t.Helper()
	pages := make(map[string]string)
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(name)
		page, _ := filepath.Rel(root, name)
		pages[filepath.ToSlash(page)] = string(text)
		return err
	})
	if err != nil || len(pages) < 8 {
		t.Fatalf("only %v were found (%v)", slices.Sorted(maps.Keys(pages)), err)
	}
	return pages
}

var (
	fence  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	goRun  = regexp.MustCompile(`go run (\./\S*)(?:[ \t]+([a-z]+))?`)
	title  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	choice = regexp.MustCompile(`\{Name: "(\w+)"`)
)

// TestLinksLeadSomewhere: what a page links to in the repository exists, and so does the heading that the link names.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages := papers(t)
	for page, text := range pages {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			file, heading, _ := strings.Cut(match[1], "#")
			target := page
			if file != "" {
				target = path.Join(path.Dir(page), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
			}
			if heading != "" && !slices.Contains(anchors(pages[target]), heading) {
				t.Errorf("%s links to %s, but %s has no such heading", page, match[1], target)
			}
		}
	}
}

func anchors(page string) []string {
	var all []string
	for _, match := range title.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		all = append(all, anchor(match[1]))
	}
	return all
}

// TestCommandsExist: each `go run` on a page names a program, and a subcommand that it has.
func TestCommandsExist(t *testing.T) {
	t.Parallel()
	for page, text := range papers(t) {
		for _, match := range goRun.FindAllStringSubmatch(text, -1) {
			program, subcommand := strings.TrimRight(match[1], "`.,:;)"), match[2]
			files, err := filepath.Glob(filepath.Join(root, program, "*.go"))
			if err != nil || len(files) == 0 {
				t.Errorf("%s: go run %s: there is no such program (%v)", page, program, err)
				continue
			}
			source := sourceOf(t, filepath.Join(program, "*.go"))
			if !strings.Contains(source, "package main\n") {
				t.Errorf("%s: go run %s: that is no program", page, program)
			}
			subcommands := submatches(source, choice.String())
			if len(subcommands) > 0 && !slices.Contains(subcommands, subcommand) {
				t.Errorf("%s: go run %s has %v, and not %q", page, program, subcommands, subcommand)
			}
		}
	}
}

// TestPapersAreShort also looks at the width: tables and code cannot be wrapped, everything else can.
func TestPapersAreShort(t *testing.T) {
	t.Parallel()
	pages := papers(t)
	if first := pages["README.md"]; strings.Count(first, "\n") > mostLines || len(first) > mostBytes {
		t.Errorf("README.md has %d lines and %d bytes", strings.Count(first, "\n"), len(first))
	}
	for page, text := range pages {
		for line := range strings.Lines(fence.ReplaceAllString(text, "")) {
			if len([]rune(line)) > mostColumns && !strings.HasPrefix(strings.TrimLeft(line, " "), "|") && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s: a line is too long: %s", page, line)
			}
		}
	}
}

// TestPapersStayHere: nothing that is uploaded is a page.
func TestPapersStayHere(t *testing.T) {
	t.Parallel()
	files := strings.Fields(command(t, root, "go", "run", "./terraform/upload", "-list"))
	if len(files) < 50 || slices.ContainsFunc(files, func(name string) bool { return filepath.Ext(name) == ".md" }) {
		t.Errorf("%d files are uploaded, and pages among them: %v", len(files), files)
	}
}
