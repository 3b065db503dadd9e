package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// chunk is the length of the pieces by which content is recognised: whoever logs 63 characters in a row of a content, a
// signature or a secret is caught.
const chunk = 32

// token is how every JWT begins: two objects in base64, of which the first has a quote behind its brace.
var token = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`)

// searchLogs looks through everything that all processes have written for what no log may hold (I9): content of
// KeyPackages, signatures (and so whole events), secret keys and tokens.
func (s *soak) searchLogs(r *Report) error {
	files, err := filepath.Glob(filepath.Join(s.Logs, "*.log"))
	if err != nil {
		return err
	}
	forbidden := s.history.chunks()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		r.LogBytes += len(text)
		if what := leak(text, forbidden); what != "" {
			r.Leaks = append(r.Leaks, fmt.Sprintf("I9: %s holds %s", filepath.Base(file), what))
		}
	}
	if r.LogBytes == 0 {
		return fmt.Errorf("there are no logs in %s", s.Logs)
	}
	r.finish()
	return nil
}

// chunks returns what must not be logged, in pieces, and what each is a piece of.
func (h *history) chunks() map[string]string {
	defer h.lock()()
	chunks := make(map[string]string)
	add := func(text, what string) {
		for ; len(text) >= chunk; text = text[chunk:] {
			chunks[text[:chunk]] = what
		}
	}
	for _, u := range h.uploads {
		add(u.content, "content of a KeyPackage")
		add(u.signature, "an event's signature")
	}
	for _, secret := range h.secrets {
		add(secret, "a secret key")
	}
	return chunks
}

func leak(text []byte, forbidden map[string]string) string {
	if token.Match(text) {
		return "a token"
	}
	for i := range max(0, len(text)-chunk+1) {
		if what, found := forbidden[string(text[i:i+chunk])]; found {
			return what
		}
	}
	return ""
}
