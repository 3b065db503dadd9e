package emulators

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxUnpacked bounds what an archive may grow to: a Java runtime has 150 MB.
const maxUnpacked = 512 << 20

// tarBlock is counted for each entry of an archive, so that maxUnpacked bounds their number as well.
const tarBlock = 512

// untar makes a directory of a .tar.gz. The directory appears whole, and flushed to the disk because nobody verifies it
// again, or not at all.
func untar(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	content, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".*.part")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) // finds nothing after the renaming
	if err := extract(temp, tar.NewReader(content), maxUnpacked); err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	return os.Rename(temp, dir)
}

// extract writes the entries of an archive into a directory. Nothing is written outside it and no link leads outside it:
// every name is resolved by [os.Root].
func extract(dir string, archive *tar.Reader, room int64) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var links []string
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return checkLinks(root, links)
		}
		if err != nil {
			return err
		}
		if room -= entry.Size + tarBlock; room < 0 {
			return errors.New("it is larger than any Java runtime")
		}
		if err := extractEntry(root, entry, archive); err != nil {
			return fmt.Errorf("%s: %w", entry.Name, err)
		}
		if entry.Typeflag == tar.TypeSymlink {
			links = append(links, filepath.Clean(entry.Name))
		}
	}
}

func extractEntry(root *os.Root, entry *tar.Header, content io.Reader) error {
	name, mode := filepath.Clean(entry.Name), entry.FileInfo().Mode().Perm()
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch entry.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, mode|0o700) // what is in it is yet to come
	case tar.TypeSymlink:
		return root.Symlink(entry.Linkname, name)
	case tar.TypeReg:
		return extractFile(root, name, mode, content)
	default:
		return fmt.Errorf("neither file nor directory nor symbolic link, but type %q", entry.Typeflag)
	}
}

func extractFile(root *os.Root, name string, mode os.FileMode, content io.Reader) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Sync(), file.Close())
}

// checkLinks follows the links, once everything that they can lead to is there.
func checkLinks(root *os.Root, links []string) error {
	for _, link := range links {
		if _, err := root.Stat(link); err != nil {
			return err
		}
	}
	return nil
}
