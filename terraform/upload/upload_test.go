package main

import (
	"archive/zip"
	"bytes"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

// tree is a source directory: names of files, all with the same content.
func tree(modified time.Time, names ...string) fstest.MapFS {
	root := make(fstest.MapFS)
	for _, name := range names {
		root[name] = &fstest.MapFile{Data: []byte("package x\n"), ModTime: modified, Mode: 0o755}
	}
	return root
}

func TestListFollowsTheRulesOfGitignore(t *testing.T) {
	t.Parallel()
	root := tree(time.Time{}, "a.go", "a_test.go", "go.mod", "shared/b.go", "shared/b_test.go", "shared/testdata/c.go",
		"shared/deep/a.go", "shared/go.mod", "tests/d.go", "shared/testdata.go")
	tests := []struct {
		name, rules string
		want        []string
	}{
		{"no rules", "# nothing\n\n", []string{"a.go", "a_test.go", "go.mod", "shared/b.go", "shared/b_test.go",
			"shared/deep/a.go", "shared/go.mod", "shared/testdata/c.go", "shared/testdata.go", "tests/d.go"}},
		{"everything but", "/*\n!/go.mod\n!/shared/\n*_test.go\ntestdata/",
			[]string{"go.mod", "shared/b.go", "shared/deep/a.go", "shared/go.mod", "shared/testdata.go"}},
		{"the last match decides", "*.go\n!a.go", []string{"a.go", "go.mod", "shared/deep/a.go", "shared/go.mod"}},
		{"a directory that is out stays out", "shared/\ntests/\n!b.go", []string{"a.go", "a_test.go", "go.mod"}},
		{"rooted", "/a.go\n/shared/\n/tests/", []string{"a_test.go", "go.mod"}},
	}
	for _, test := range tests {
		rules, err := parseRules(test.rules)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got, err := list(root, rules)
		if slices.Sort(got); err != nil || !slices.Equal(got, slices.Sorted(slices.Values(test.want))) {
			t.Errorf("%s: %v, %v\nwant %v", test.name, got, err, test.want)
		}
	}
}

func TestLinesBeyondTheRulesAreRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"a/b", "**/x", "a[bc]", `\#x`, "a?", "!", "/", "!!a", "#!include:.gitignore"} {
		if rules, err := parseRules("ok\n" + line); err == nil {
			t.Errorf("%q was read as %+v", line, rules[1])
		}
	}
}

func TestTheSameFilesMakeTheSameZip(t *testing.T) {
	t.Parallel()
	names := []string{"a.go", "shared/b.go"}
	first, err := pack(tree(time.Unix(1, 0), names...), names)
	if err != nil {
		t.Fatal(err)
	}
	second, err := pack(tree(time.Unix(2_000_000_000, 0), names...), names)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the zips differ (%v)", err)
	}
	archive, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range archive.File {
		if file.Name != names[i] || file.Mode().Perm() != 0o644 {
			t.Errorf("file %d is %s, %v", i, file.Name, file.Mode())
		}
	}
}
