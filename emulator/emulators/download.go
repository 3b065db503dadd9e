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
	"time"
)

// DownloadVariable is the environment variable with the URL of a directory that has the published files, in place of
// Google's. The checksums hold for it as well.
const DownloadVariable = "EMULATOR_DOWNLOAD_URL"

// downloadTimeout bounds the download of one emulator, so that a connection that went silent does not hang for ever:
// 65 MB take 9 minutes at 1 Mbit/s.
const downloadTimeout = 15 * time.Minute

// downloader keeps emulators in a directory of the user's cache. Several processes may use the directory at once.
type downloader struct {
	base     string // URL of the directory that has the published files
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
		base:     cmp.Or(getenv(DownloadVariable), publishedAt),
		cache:    filepath.Join(cache, "keypackage-delivery", "emulators"),
		progress: progress,
	}, nil
}

// jar returns the path of a release's jar. What an earlier download left is verified, and used if it is right.
func (d downloader) jar(ctx context.Context, r release) (string, error) {
	if err := os.MkdirAll(d.cache, 0o755); err != nil {
		return "", fmt.Errorf("directory for downloads: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(d.cache, "lock")) // several packages' tests want the same files
	if err != nil {
		return "", fmt.Errorf("wait for another download: %w", err)
	}
	defer unlock()
	file := filepath.Join(d.cache, r.file)
	if err := d.ensure(ctx, file, r); err != nil {
		return "", err
	}
	if r.jar == "" {
		return file, nil
	}
	return unpack(file, r.jar)
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
	from, err := url.Parse(d.base)
	if err != nil {
		return fmt.Errorf("%s: %w", DownloadVariable, err)
	}
	from = from.JoinPath(r.file)
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	body, err := get(ctx, from)
	if err != nil {
		return err
	}
	defer body.Close()
	d.progress(fmt.Sprintf("downloading %s to %s", from.Redacted(), d.cache))
	limited := io.LimitReader(body, r.size+1) // one more gives it another checksum
	if err := keep(file, io.TeeReader(limited, &bar{total: r.size, tell: d.progress}), r.sha256); err != nil {
		return fmt.Errorf("download %s: %w", from.Redacted(), err)
	}
	return nil
}

// get returns the content at a URL. The caller closes it.
func get(ctx context.Context, from *url.URL) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("download %s: the server answers %s", from.Redacted(), res.Status)
	}
	return res.Body, nil
}
