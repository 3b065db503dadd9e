package emulators

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entry is one of an archive; content is a link's target.
type entry struct {
	kind    byte
	name    string
	mode    int64
	content string
}

// javaArchive is laid out as a published runtime is. Its java runs another one.
func javaArchive(java string) []entry {
	return []entry{
		{tar.TypeDir, "jdk-17-jre/", 0o755, ""},
		{tar.TypeReg, "jdk-17-jre/bin/java", 0o755, fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", java)},
		{tar.TypeSymlink, "jdk-17-jre/legal/java.desktop/LICENSE", 0o777, "../java.base/LICENSE"}, // before its target
		{tar.TypeDir, "jdk-17-jre/legal/java.base/", 0o555, ""},
		{tar.TypeReg, "jdk-17-jre/legal/java.base/LICENSE", 0o444, "free"},
	}
}

func tarred(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range entries {
		header := &tar.Header{Typeflag: e.kind, Name: e.name, Mode: e.mode}
		if e.kind == tar.TypeReg {
			header.Size = int64(len(e.content))
		} else {
			header.Linkname = e.content
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if e.kind == tar.TypeReg {
			if _, err := w.Write([]byte(e.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func tarGz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := gzip.NewWriter(&archive)
	if _, err := w.Write(tarred(t, entries...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func TestUnpackedAsArchived(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := extract(dir, tar.NewReader(bytes.NewReader(tarred(t, javaArchive("java")...))), maxUnpacked); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		"bin/java": 0o755, "legal/java.base/LICENSE": 0o444, "legal/java.base": os.ModeDir | 0o755,
		"legal/java.desktop/LICENSE": os.ModeSymlink | 0o777,
	} {
		info, err := os.Lstat(filepath.Join(dir, "jdk-17-jre", name))
		const others = 0o077 // what they may is up to the umask
		if err != nil || info.Mode()&^others != want&^others {
			t.Errorf("%s: %v, %v; want mode %v", name, info, err, want)
		}
	}
	linked, err := os.ReadFile(filepath.Join(dir, "jdk-17-jre/legal/java.desktop/LICENSE"))
	if err != nil || string(linked) != "free" {
		t.Errorf("through the link: %q, %v", linked, err)
	}
}

func TestDangerousArchivesAreRefused(t *testing.T) {
	t.Parallel()
	file := func(name string) entry { return entry{tar.TypeReg, name, 0o644, "planted"} }
	link := func(name, target string) entry { return entry{tar.TypeSymlink, name, 0o777, target} }
	tests := map[string][]entry{
		"path outside":             {file("../planted")},
		"path outside from within": {file("a/../../planted")},
		"absolute path":            {file("/planted")},
		"directory outside":        {{tar.TypeDir, "../planted", 0o755, ""}},
		"link outside":             {link("l", "../outside")},
		"absolute link":            {link("l", "/")},
		"file through a link":      {link("l", ".."), file("l/planted")},
		"link through a link":      {{tar.TypeDir, "a/b", 0o755, ""}, link("l", "a"), link("l/m", "../../outside")},
		"dangling link":            {link("l", "nothing")},
		"file twice":               {file("f"), file("f")},
		"file over a link":         {file("f"), link("l", "f"), file("l")},
		"hard link":                {file("f"), {tar.TypeLink, "h", 0o644, "f"}},
		"device":                   {{tar.TypeChar, "d", 0o644, ""}},
		"too many bytes":           {{tar.TypeReg, "f", 0o644, strings.Repeat("x", 8<<10)}},
		"too many entries":         {{tar.TypeDir, "a", 0o755, ""}, {tar.TypeDir, "b", 0o755, ""}, {tar.TypeDir, "c", 0o755, ""}, {tar.TypeDir, "d", 0o755, ""}, {tar.TypeDir, "e", 0o755, ""}},
	}
	for name, entries := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			around := t.TempDir()
			dir := filepath.Join(around, "dir")
			if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(filepath.Join(around, "outside"), 0o755)); err != nil {
				t.Fatal(err)
			}
			err := extract(dir, tar.NewReader(bytes.NewReader(tarred(t, entries...))), 4*tarBlock)
			if err == nil {
				t.Error("it was unpacked")
			}
			if left, _ := os.ReadDir(around); len(left) != 2 {
				t.Errorf("something was written outside: %v", left)
			}
		})
	}
}

func TestRefusedArchiveLeavesNoDirectory(t *testing.T) {
	t.Parallel()
	whole := tarGz(t, javaArchive("java")...)
	for name, archive := range map[string][]byte{
		"no archive": []byte("no archive"),
		"cut off":    whole[:len(whole)/2],
		"dangerous":  tarGz(t, entry{tar.TypeReg, "../planted", 0o644, "planted"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, serving("jre.tar.gz", archive))
			if _, err := m.get(t.Context(), released("jre.tar.gz", archive)); err == nil || !strings.Contains(err.Error(), "jre.tar.gz") {
				t.Errorf("error %v, want one that names the archive", err)
			}
			if _, err := os.Stat(filepath.Join(m.cache, "jre")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a directory: %v", err)
			}
		})
	}
}
