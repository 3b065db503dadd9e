package mls

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// frame is the beginning of an MLSMessage(mls_key_package), RFC 9420 section 6: version mls10, wire format 5.
var frame = []byte{0, 1, 0, 5}

// DecodeContent finds the KeyPackage in the content of an event and returns its bytes, without a frame, ready for Parse.
//
// Generations of clients have written it in hex or base64, framed as an MLSMessage or bare. Tags that name the encoding may be
// missing or wrong, so every way is tried, and the one that leaves a whole KeyPackage is right. ("deadbeef" is hex and base64; a
// bare package of suite 5 begins like a frame.) Spelling is taken generously (case, padding, the alphabet for URLs, white space)
// so that one package has one identity however it is written. The error is ErrEncoding, ErrTooLarge, ErrMalformed or ErrVersion.
func DecodeContent(content string) ([]byte, error) {
	inner, _, err := find(decodings(content))
	return inner, err
}

// ParseContent is DecodeContent and Parse in one.
func ParseContent(content string) (*KeyPackage, error) {
	_, kp, err := find(decodings(content))
	return kp, err
}

// find returns the first of the decodings that is a whole KeyPackage, framed or bare, or what is wrong with the first. No bytes
// are both: after the same four a framed package goes on with its version, 00 01, and a bare one with the length of its init
// key, which is not 0.
func find(decoded [][]byte) (inner []byte, kp *KeyPackage, err error) {
	wrong := error(ErrEncoding)
	for i, b := range decoded {
		for _, inner := range [][]byte{bytes.TrimPrefix(b, frame), b} {
			if kp, err = Parse(inner); err == nil {
				return inner, kp, nil
			}
		}
		if i == 0 {
			wrong = err
		}
	}
	return nil, nil, wrong
}

// ContentHash identifies a KeyPackage of an owner across events and encodings: the hex SHA-256 of the owner's public key (64
// hex digits, as text) followed by the bytes that DecodeContent finds. If the content holds no KeyPackage, the decoded bytes
// take their place (as hex, if it decodes as both hex and base64), and if it cannot be decoded, the content itself. The owner is
// part of it, so that a stranger who publishes somebody's bytes under her own key changes nothing for him.
func ContentHash(ownerPubkey, content string) string {
	decoded := decodings(content)
	identity, _, err := find(decoded)
	if err != nil {
		identity = append(decoded, []byte(content))[0]
	}
	sum := sha256.Sum256(append([]byte(ownerPubkey), identity...))
	return hex.EncodeToString(sum[:])
}

// Opaque tells whether content is bytes of a kind that nobody here knows: it can be decoded, and does not begin as a
// KeyPackage of mls10 does, framed or bare. What begins like one and cannot be parsed is a broken KeyPackage.
func Opaque(content string) bool {
	decoded := decodings(content)
	return len(decoded) > 0 && !slices.ContainsFunc(decoded, func(b []byte) bool { return bytes.HasPrefix(b, frame[:2]) })
}

// plain drops white space and maps the base64 alphabet for URLs to the standard one.
var plain = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "", "-", "+", "_", "/")

// decodings returns what content may stand for, hex first.
func decodings(content string) (decoded [][]byte) {
	text := plain.Replace(content)
	if b, err := hex.DecodeString(text); err == nil {
		decoded = append(decoded, b)
	}
	if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "=")); err == nil {
		decoded = append(decoded, b)
	}
	return decoded
}
