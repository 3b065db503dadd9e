package main

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// rule is a line of .gcloudignore. Only the part of gitignore's language is understood that needs no reading twice:
// patterns of one path element.
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
func ignored(rules []rule, name string, isDir bool) bool {
	out := false
	for _, r := range rules {
		if r.rooted && strings.Contains(name, "/") || r.dirsOnly && !isDir {
			continue
		}
		if ok, _ := path.Match(r.pattern, path.Base(name)); ok {
			out = !r.include
		}
	}
	return out
}

// list returns the files that go to the cloud, in the order of their names. What lies in an ignored directory is ignored,
// whatever later rules say.
func list(root fs.FS, rules []rule) ([]string, error) {
	var names []string
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case ignored(rules, name, entry.IsDir()) && entry.IsDir():
			return fs.SkipDir
		case ignored(rules, name, entry.IsDir()) || entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", name)
		}
		names = append(names, name)
		return nil
	})
	return names, err
}
