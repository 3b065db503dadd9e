// Command upload makes the zip that Terraform deploys: the files that .gcloudignore leaves, which are those that
// `gcloud functions deploy` would send. The same files make the same bytes, so that functions are deployed anew only when
// their code changes.
//
//	go run ./terraform/upload              in the repository's root: makes terraform/upload.zip
//	go run ./terraform/upload -list        shows the files
package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

func main() {
	out := flag.String("o", "terraform/upload.zip", "`file` to write the zip to")
	show := flag.Bool("list", false, "show the files instead")
	flag.Parse()
	if err := run(os.DirFS("."), *out, *show); err != nil {
		fmt.Fprintln(os.Stderr, "upload:", err)
		os.Exit(1)
	}
}

func run(root fs.FS, out string, show bool) error {
	text, err := fs.ReadFile(root, ".gcloudignore")
	if err != nil {
		return fmt.Errorf("run this in the repository's root: %w", err)
	}
	rules, err := parseRules(string(text))
	if err != nil {
		return fmt.Errorf(".gcloudignore: %w", err)
	}
	names, err := list(root, rules)
	if err != nil {
		return err
	}
	if show {
		fmt.Println(strings.Join(names, "\n"))
		return nil
	}
	content, err := pack(root, names)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d files, %d KiB, sha256 %x\n", out, len(names), len(content)/1024, sha256.Sum256(content))
	return os.WriteFile(out, content, 0o600)
}

// epoch is the time of every file in the zip: the first that the format can express.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack makes a zip in which nothing depends on when, where and by whom it was made. The buildpack changes go.mod, so that
// files are writable.
func pack(root fs.FS, names []string) ([]byte, error) {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	for _, name := range names {
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
		header.SetMode(0o644)
		file, err := archive.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := file.Write(content); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return buffer.Bytes(), err
}
