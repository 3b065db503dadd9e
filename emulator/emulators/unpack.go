package emulators

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// unpack makes a directory of an archive that has been verified. The directory appears whole, and flushed to the disk because
// nobody verifies it again, or not at all. Nothing is written outside it: [os.Root] resolves every name.
func unpack(archive, dir string) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".*.part")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) // finds nothing after the renaming
	root, err := os.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer root.Close()
	extract := untar
	if strings.HasSuffix(archive, ".zip") {
		extract = unzip
	}
	if err := extract(root, archive); err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	return os.Rename(temp, dir)
}

func unzip(root *os.Root, archive string) error {
	files, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer files.Close()
	for _, entry := range files.File {
		if entry.Mode().IsDir() {
			continue
		}
		content, err := entry.Open()
		if err == nil {
			err = errors.Join(write(root, entry.Name, entry.Mode(), content), content.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func untar(root *os.Root, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	content, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(content); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch name := filepath.Clean(entry.Name); entry.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			err = errors.Join(root.MkdirAll(filepath.Dir(name), 0o755), root.Symlink(entry.Linkname, name))
		case tar.TypeReg:
			err = write(root, name, entry.FileInfo().Mode(), entries)
		default:
			err = fmt.Errorf("%s is neither file nor directory nor symbolic link, but type %q", name, entry.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

func write(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Sync(), file.Close())
}
