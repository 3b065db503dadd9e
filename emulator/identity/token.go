package identity

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// lifetime of a token; Google's are valid for an hour too.
const lifetime = time.Hour

// claims are those of a Google ID token of a service account.
type claims struct {
	Issuer        string `json:"iss"`
	Audience      string `json:"aud"`
	Subject       string `json:"sub"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	IssuedAt      int64  `json:"iat"`
	Expires       int64  `json:"exp"`
}

type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

var encoding = base64.RawURLEncoding

// sign returns the compact JWS (RFC 7515) of c with RS256 (RFC 7518, section 3.3).
func sign(key *rsa.PrivateKey, keyID string, c claims) (string, error) {
	head, err := json.Marshal(header{Algorithm: "RS256", KeyID: keyID, Type: "JWT"})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed := encoding.EncodeToString(head) + "." + encoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed + "." + encoding.EncodeToString(signature), nil
}

var errMalformed = errors.New("malformed token")

// open returns the claims of a token that key signed. It does not judge the claims.
func open(key *rsa.PublicKey, token string) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, errMalformed
	}
	var head header
	var c claims
	if decode(parts[0], &head) != nil || head.Algorithm != "RS256" || decode(parts[1], &c) != nil {
		return claims{}, errMalformed
	}
	signature, err := encoding.DecodeString(parts[2])
	if err != nil {
		return claims{}, errMalformed
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature); err != nil {
		return claims{}, errors.New("the token's signature is wrong")
	}
	return c, nil
}

func decode(part string, into any) error {
	raw, err := encoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
