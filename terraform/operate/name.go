package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// pubkey reads a public key as people pass it on: hex, or npub1 (NIP-19).
func pubkey(text string) (string, error) {
	if keypackage.IsPubkey(text) {
		return text, nil
	}
	if prefix, value, err := nip19.Decode(text); err == nil && prefix == "npub" {
		return value.(string), nil
	}
	return "", fmt.Errorf("%q is not a public key: 64 lowercase hex digits, or npub1", text)
}

// eventID reads an event's id as people pass it on: hex, note1 or nevent1 (NIP-19).
func eventID(text string) (string, error) {
	if keypackage.IsEventID(text) {
		return text, nil
	}
	switch prefix, value, err := nip19.Decode(text); {
	case err != nil:
	case prefix == "note":
		return value.(string), nil
	case prefix == "nevent":
		return value.(nostr.EventPointer).ID, nil
	}
	return "", fmt.Errorf("%q is not the id of an event: 64 lowercase hex digits, note1 or nevent1", text)
}

// secretKey reads a secret key out of a file, hex or nsec1 (NIP-19). No error says what the file holds.
func secretKey(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("-key-file: %w", err)
	}
	secret := strings.TrimSpace(string(content))
	if prefix, value, err := nip19.Decode(secret); err == nil && prefix == "nsec" {
		secret = value.(string)
	}
	if !nostr.IsValid32ByteHex(secret) {
		return "", errors.New("-key-file: the file does not hold a secret key: 64 lowercase hex digits, or nsec1")
	}
	return secret, nil
}
