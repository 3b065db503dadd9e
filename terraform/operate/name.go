package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"
)

// decode reads 32 bytes as people pass them on: in 64 lowercase hex digits, or under one of the prefixes (NIP-19).
func decode(text string, prefixes ...string) (hex string, ok bool) {
	if nostr.IsValid32ByteHex(text) {
		return text, true
	}
	prefix, value, err := nip19.Decode(text)
	if err != nil || !slices.Contains(prefixes, prefix) {
		return "", false
	}
	if event, is := value.(nostr.EventPointer); is {
		return event.ID, true
	}
	return value.(string), true
}

func pubkey(text string) (string, error) {
	if key, ok := decode(text, "npub"); ok {
		return key, nil
	}
	return "", fmt.Errorf("%q is not a public key: 64 lowercase hex digits, or npub1", text)
}

func eventID(text string) (string, error) {
	if id, ok := decode(text, "note", "nevent"); ok {
		return id, nil
	}
	return "", fmt.Errorf("%q is not the id of an event: 64 lowercase hex digits, note1 or nevent1", text)
}

// secretKey reads a secret key out of a file. No error says what the file holds.
func secretKey(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("-key-file: %w", err)
	}
	if secret, ok := decode(strings.TrimSpace(string(content)), "nsec"); ok {
		return secret, nil
	}
	return "", errors.New("-key-file: the file does not hold a secret key: 64 lowercase hex digits, or nsec1")
}
