package emulators

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// keep makes a file of content if its SHA-256 is the wanted one. The file appears whole or not at all, and nothing is left
// of content that is refused. It is not flushed to the disk: it is verified again before each use.
func keep(file string, content io.Reader, want string) error {
	temp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.part")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // finds nothing after the renaming
	got, err := digest(io.TeeReader(content, temp))
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("refused, because it is not the published file: its SHA-256 is %s, not %s", got, want)
	}
	return os.Rename(temp.Name(), file)
}

// unpack returns the path of a file of a zip archive, beside the archive. One that is there from earlier is used if it is
// the same as in the archive, which the caller has verified.
func unpack(archive, name string) (string, error) {
	files, err := zip.OpenReader(archive)
	if err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	defer files.Close()
	want, err := entryDigest(files, name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	file := filepath.Join(filepath.Dir(archive), path.Base(name))
	if got, err := fileDigest(file); err == nil && got == want {
		return file, nil
	}
	entry, err := files.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	defer entry.Close()
	if err := keep(file, entry, want); err != nil {
		return "", fmt.Errorf("unpack %s: %w", archive, err)
	}
	return file, nil
}

func entryDigest(files *zip.ReadCloser, name string) (string, error) {
	entry, err := files.Open(name)
	if err != nil {
		return "", err
	}
	defer entry.Close()
	return digest(entry)
}

func fileDigest(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return digest(file)
}

// digest returns the SHA-256 of what is left to read, in hexadecimal.
func digest(content io.Reader) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, content); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
