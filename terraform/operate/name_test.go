package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr/nip19"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// encoded writes a name as NIP-19 does.
func encoded(t *testing.T, prefix, name string) string {
	t.Helper()
	encode := map[string]func(string) (string, error){
		"npub": nip19.EncodePublicKey, "nsec": nip19.EncodePrivateKey, "note": nip19.EncodeNote,
		"nevent": func(id string) (string, error) {
			return nip19.EncodeEvent(id, []string{"wss://relay.example"}, requester)
		},
	}
	text, err := encode[prefix](name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestNames(t *testing.T) {
	t.Parallel()
	key := actors.NewKey()
	npub, note, nevent := encoded(t, "npub", key.Pubkey), encoded(t, "note", request), encoded(t, "nevent", request)
	for _, text := range []string{key.Pubkey, npub} {
		if got, err := pubkey(text); err != nil || got != key.Pubkey {
			t.Errorf("pubkey(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{request, note, nevent} {
		if got, err := eventID(text); err != nil || got != request {
			t.Errorf("eventID(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "npub1", note, nevent, strings.ToUpper(key.Pubkey), key.Pubkey[1:], npub[:len(npub)-1] + "b"} {
		if got, err := pubkey(text); err == nil {
			t.Errorf("pubkey(%q) = %q", text, got)
		}
	}
	for _, text := range []string{"", "nevent1", npub, nevent[:40], strings.ToUpper(request), request + "0"} {
		if got, err := eventID(text); err == nil {
			t.Errorf("eventID(%q) = %q", text, got)
		}
	}
}

func TestSecretKey(t *testing.T) {
	t.Parallel()
	key, file := actors.NewKey(), filepath.Join(t.TempDir(), "key")
	for _, content := range []string{key.Secret, key.Secret + "\n", encoded(t, "nsec", key.Secret) + "\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := secretKey(file); err != nil || got != key.Secret {
			t.Errorf("a key in %d bytes: %v", len(content), err)
		}
	}
	if err := os.WriteFile(file, []byte(key.Secret[1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secretKey(file); err == nil || strings.Contains(err.Error(), key.Secret[1:9]) {
		t.Errorf("a key that is too short: %v", err)
	}
	if _, err := secretKey(file + ".missing"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestWithoutAProjectBothWaysToNameOneAreTold(t *testing.T) {
	t.Setenv(config.Project, "")
	t.Setenv(emulatorHost, "")
	for _, args := range [][]string{
		{"stock", "-owner", requester},
		{"trace", request},
		{"deadletters"},
		{"mode", "off"},
		{"import", "-from", "wss://relay.example"},
	} {
		if err := operate(t.Context(), args); err == nil || !strings.Contains(err.Error(), "-project") || !strings.Contains(err.Error(), emulatorHost) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestTheWordMayComeBeforeOrBehindTheFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{request, "-json"}, {"-json", request}} {
		var o options
		if err := o.parse("trace", args); err != nil || o.word != request || !o.json {
			t.Errorf("%v: %q, %v", args, o.word, err)
		}
	}
	for _, args := range [][]string{nil, {"-json"}, {request, request}, {"-x"}} {
		var o options
		if err := o.parse("trace", args); err == nil {
			t.Errorf("%v: %q", args, o.word)
		}
	}
}
