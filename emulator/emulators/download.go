package emulators

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mirrorVariable is the environment variable with the URL of a directory that has all published files. The checksums hold there, too.
const mirrorVariable = "EMULATOR_DOWNLOAD_URL"

const (
	// downloadTimeout bounds the download of one file, as a connection may go silent: 65 MB take 9 minutes at 1 Mbit/s.
	downloadTimeout = 15 * time.Minute
	// maxDownload bounds what is written of an answer: twice the largest of the published files, in bytes.
	maxDownload = 128 << 20
)

// release is a file as its publisher provides it.
type release struct {
	at     string // URL of the directory that has it
	file   string // its name there, and in a mirror
	sha256 string // hexadecimal
	inside string // pattern of what is wanted of a .zip or .tar.gz; "" if the file itself is wanted
}

// downloader keeps published files in a directory. Several processes may use the directory at once.
type downloader struct {
	mirror   string // URL of the directory that has all files, "" where each is published
	cache    string // "" is one in the user's cache directory, which is ~/.cache on Linux
	progress func(string)
}

// get returns the path of what is wanted of a release. What an earlier download left is used: a file is verified again first,
// an archive is unpacked once and not kept.
func (d downloader) get(ctx context.Context, r release) (string, error) {
	if d.cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("directory for downloads: %w", err)
		}
		d.cache = filepath.Join(user, "keypackage-delivery", "emulators")
	}
	if err := os.MkdirAll(d.cache, 0o755); err != nil {
		return "", fmt.Errorf("directory for downloads: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(d.cache, "lock")) // several packages' tests want the same files
	if err != nil {
		return "", fmt.Errorf("wait for another download: %w", err)
	}
	defer unlock()
	file := filepath.Join(d.cache, r.file)
	if r.inside == "" {
		return file, d.ensure(ctx, file, r)
	}
	dir := strings.TrimSuffix(strings.TrimSuffix(file, ".zip"), ".tar.gz")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := d.ensure(ctx, file, r); err != nil {
			return "", err
		}
		d.progress("unpacking " + file)
		if err := errors.Join(unpack(file, dir), os.Remove(file)); err != nil {
			return "", err
		}
	}
	found, err := newest(filepath.Join(dir, r.inside))
	if err == nil && found == "" {
		err = fmt.Errorf("there is no %s in %s", r.inside, dir)
	}
	return found, err
}

// ensure returns nil when file is the release.
func (d downloader) ensure(ctx context.Context, file string, r release) error {
	switch kept, err := os.Open(file); {
	case err == nil:
		defer kept.Close()
		if got, err := digest(kept); err != nil || got == r.sha256 {
			return err
		}
		d.progress(file + " is damaged and is downloaded again")
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	return d.download(ctx, file, r)
}

// download makes a file of the release, if its SHA-256 is the known one. It appears whole or not at all. It is not flushed to
// the disk: it is verified again before each use.
func (d downloader) download(ctx context.Context, file string, r release) error {
	from, err := url.Parse(cmp.Or(d.mirror, r.at))
	if err != nil {
		return fmt.Errorf("%s: %w", mirrorVariable, err)
	}
	from = from.JoinPath(r.file)
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err // it names the URL
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("download %s: the server answers %s", from.Redacted(), res.Status)
	}
	d.progress(fmt.Sprintf("downloading %s to %s", from.Redacted(), d.cache))
	content := io.TeeReader(io.LimitReader(res.Body, maxDownload), &bar{total: res.ContentLength, tell: d.progress})
	if err := keep(file, content, r.sha256); err != nil {
		return fmt.Errorf("download %s: %w", from.Redacted(), err)
	}
	return nil
}

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

// digest returns the SHA-256 of what is left to read, in hexadecimal.
func digest(content io.Reader) (string, error) {
	hash := sha256.New()
	_, err := io.Copy(hash, content)
	return hex.EncodeToString(hash.Sum(nil)), err
}

// bar tells how far the bytes written to it are, one line for each tenth, which can be read in the log of a build as well.
type bar struct {
	total int64 // bytes; nothing is told if it is not known
	tell  func(string)

	done, told int64 // bytes, tenths
}

func (b *bar) Write(p []byte) (int, error) {
	b.done += int64(len(p))
	if b.total <= 0 {
		return len(p), nil
	}
	if tenths := min(10*b.done/b.total, 10); tenths != b.told {
		b.told = tenths
		done, total := float64(b.done)/1e6, float64(b.total)/1e6
		b.tell(fmt.Sprintf("[%-20s] %3d %%, %.1f of %.1f MB", strings.Repeat("##", int(tenths)), 10*tenths, done, total))
	}
	return len(p), nil
}

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
