package emulators

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DownloadVariable is the environment variable with the URL of a directory that has the published files of the emulators
// and of the Java runtime, in place of their publishers'. The checksums hold for it as well.
const DownloadVariable = "EMULATOR_DOWNLOAD_URL"

const (
	// downloadTimeout bounds the download of one file, so that a connection that went silent does not hang for ever:
	// 65 MB take 9 minutes at 1 Mbit/s.
	downloadTimeout = 15 * time.Minute
	// maxDownload bounds what is written of an answer: twice the largest of the published files, in bytes.
	maxDownload = 128 << 20
)

// downloader keeps published files in a directory of the user's cache. Several processes may use the directory at once.
type downloader struct {
	mirror   string // URL of the directory that has all files, "" where each is published
	cache    string
	progress func(string)
}

// newDownloader uses the user's cache directory, which is ~/.cache on Linux.
func newDownloader(getenv func(string) string, progress func(string)) (downloader, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return downloader{}, fmt.Errorf("directory for downloads: %w", err)
	}
	if progress == nil {
		progress = func(string) {}
	}
	return downloader{
		mirror:   getenv(DownloadVariable),
		cache:    filepath.Join(cache, "keypackage-delivery", "emulators"),
		progress: progress,
	}, nil
}

// get returns the path of what is wanted of a release. What an earlier download left is used.
func (d downloader) get(ctx context.Context, r release) (string, error) {
	if err := os.MkdirAll(d.cache, 0o755); err != nil {
		return "", fmt.Errorf("directory for downloads: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(d.cache, "lock")) // several packages' tests want the same files
	if err != nil {
		return "", fmt.Errorf("wait for another download: %w", err)
	}
	defer unlock()
	file := filepath.Join(d.cache, r.file)
	if dir, ok := strings.CutSuffix(file, ".tar.gz"); ok {
		return d.tree(ctx, dir, file, r)
	}
	if err := d.ensure(ctx, file, r); err != nil {
		return "", err
	}
	if r.inside == "" {
		return file, nil
	}
	return unpack(file, r.inside)
}

// tree returns what is wanted of an archive that is unpacked as a whole. The archive is not kept.
func (d downloader) tree(ctx context.Context, dir, archive string, r release) (string, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := d.ensure(ctx, archive, r); err != nil {
			return "", err
		}
		d.progress("unpacking " + archive)
		if err := errors.Join(untar(archive, dir), os.Remove(archive)); err != nil {
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
	got, err := fileDigest(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return d.download(ctx, file, r)
	case err != nil:
		return err
	case got != r.sha256:
		d.progress(file + " is damaged and is downloaded again")
		return d.download(ctx, file, r)
	default:
		return nil
	}
}

func (d downloader) download(ctx context.Context, file string, r release) error {
	from, err := url.Parse(cmp.Or(d.mirror, r.at))
	if err != nil {
		return fmt.Errorf("%s: %w", DownloadVariable, err)
	}
	from = from.JoinPath(r.file)
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	res, err := request(ctx, from)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d.progress(fmt.Sprintf("downloading %s to %s", from.Redacted(), d.cache))
	content := io.TeeReader(io.LimitReader(res.Body, maxDownload), &bar{total: res.ContentLength, tell: d.progress})
	if err := keep(file, content, r.sha256); err != nil {
		return fmt.Errorf("download %s: %w", from.Redacted(), err)
	}
	return nil
}

// request returns the answer of a server that has what it is asked for. The caller closes its body.
func request(ctx context.Context, from *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err // it names the URL
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("download %s: the server answers %s", from.Redacted(), res.Status)
	}
	return res, nil
}
