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
		{tar.TypeDir, "jdk-17-jre/legal/java.base/", 0o755, ""},
		{tar.TypeReg, "jdk-17-jre/legal/java.base/LICENSE", 0o444, "free"},
	}
}

func tarGz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	w := tar.NewWriter(zipped)
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
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// unpacked unpacks an archive into a directory of its own.
func unpacked(t *testing.T, name string, content []byte) (dir string, err error) {
	t.Helper()
	archive := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(archive, content, 0o600); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "dir")
	return dir, unpack(archive, dir)
}

func TestUnpackedAsArchived(t *testing.T) {
	t.Parallel()
	dir, err := unpacked(t, "jre.tar.gz", tarGz(t, javaArchive("java")...))
	if err != nil {
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

func TestNothingIsWrittenOutside(t *testing.T) {
	t.Parallel()
	file := func(name string) entry { return entry{tar.TypeReg, name, 0o644, "planted"} }
	link := func(name, target string) entry { return entry{tar.TypeSymlink, name, 0o777, target} }
	archives := map[string][]byte{
		"path.tar.gz":         tarGz(t, file("../planted")),
		"path-within.tar.gz":  tarGz(t, file("a/../../planted")),
		"absolute.tar.gz":     tarGz(t, file("/planted")),
		"directory.tar.gz":    tarGz(t, entry{tar.TypeDir, "../planted", 0o755, ""}),
		"through-link.tar.gz": tarGz(t, link("l", ".."), file("l/planted")),
		"twice.tar.gz":        tarGz(t, file("f"), file("f")),
		"over-link.tar.gz":    tarGz(t, file("f"), link("l", "f"), file("l")),
		"hard-link.tar.gz":    tarGz(t, file("f"), entry{tar.TypeLink, "h", 0o644, "f"}),
		"device.tar.gz":       tarGz(t, entry{tar.TypeChar, "d", 0o644, ""}),
		"path.zip":            archived(t, map[string][]byte{"../planted": nil}),
	}
	for name, archive := range archives {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := unpacked(t, name, archive)
			if err == nil {
				t.Error("it was unpacked")
			}
			if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) != 0 {
				t.Errorf("something was left or written outside: %v", left)
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
			r := released("jre.tar.gz", archive)
			r.inside = "*/bin/java"
			if _, err := m.get(t.Context(), r); err == nil || !strings.Contains(err.Error(), "jre.tar.gz") {
				t.Errorf("error %v, want one that names the archive", err)
			}
			if _, err := os.Stat(filepath.Join(m.cache, "jre")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a directory: %v", err)
			}
		})
	}
}
