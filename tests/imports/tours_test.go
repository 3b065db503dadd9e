package imports

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var fileName = regexp.MustCompile(`\b\w+\.go\b`)

// A package comment that names files is a tour: it names all of them but its own and the tests, and none that is gone.
func TestToursLeaveNothingOut(t *testing.T) {
	t.Parallel()
	for _, p := range whole(t) {
		comment, in := comments(t, p)
		named := fileName.FindAllString(comment, -1)
		for _, file := range named {
			if _, err := os.Stat(filepath.Join(p.Dir, file)); err != nil {
				t.Errorf("%s: %s names %s, which does not exist", p.short(), in, file)
			}
		}
		for _, file := range p.GoFiles {
			if len(named) > 0 && file != in && !slices.Contains(named, file) {
				t.Errorf("%s: the tour in %s leaves out %s", p.short(), in, file)
			}
		}
	}
}

// comments returns the comment of a package and the file in which it stands. A package of tests alone has it in one of them.
func comments(t *testing.T, p pkg) (comment, in string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc == nil {
			continue
		}
		if in != "" {
			t.Errorf("%s has a package comment in %s and in %s", p.short(), in, filepath.Base(file))
		}
		comment, in = parsed.Doc.Text(), filepath.Base(file)
	}
	if in == "" {
		t.Errorf("%s has no package comment", p.short())
	}
	return comment, in
}

// The tour of the tree names what is deployed, and that of tests everything below it.
func TestTreeToursLeaveNothingOut(t *testing.T) {
	t.Parallel()
	tour := map[string]string{}
	for _, p := range whole(t) {
		if p.short() == "." || p.short() == "tests" {
			tour[areaOf(p.short())], _ = comments(t, p)
		}
	}
	for _, p := range whole(t) {
		path, area := p.short(), areaOf(p.short())
		inside := strings.Count(path, "/") > 1 // part of another package's own tour
		if _, toured := tour[area]; !toured || path == "." || path == "tests" || inside {
			continue
		}
		name := path
		if area == "tests" {
			name = filepath.Base(path)
		}
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(tour[area]) {
			t.Errorf("the tour of what is %s leaves out %s", area, path)
		}
	}
}
