package relayapi

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// issuer signs ID tokens as it is told and serves its key.
type issuer struct {
	key *rsa.PrivateKey
	url string
}

// Making keys takes long under the race detector, so all tests share them.
var ourKey, otherKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	key := ourKey()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","alg":"RS256","use":"sig","kid":"k1","n":%q,"e":%q}]}`,
			encodeURL(key.N.Bytes()), encodeURL(big.NewInt(int64(key.E)).Bytes()))
	}))
	t.Cleanup(server.Close)
	return issuer{key, server.URL}
}

func encodeURL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (i issuer) caller() Caller {
	return Caller{Issuer: Issuer{i.url, i.url + "/certs"}, Audience: "https://relay.example", Email: "deliver@project.example"}
}

type claims map[string]any

// claims are those of a good token with changes; nil removes one.
func (i issuer) claims(changes claims) claims {
	c := claims{
		"iss": i.url, "aud": i.caller().Audience, "sub": "1", "email": i.caller().Email, "email_verified": true,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range changes {
		c[name] = value
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

func (i issuer) token(changes claims) string {
	return signRS256(i.key, `{"alg":"RS256","kid":"k1"}`, i.claims(changes))
}

func signRS256(key *rsa.PrivateKey, header string, c claims) string {
	signed := unsigned(header, c)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + encodeURL(signature)
}

func unsigned(header string, c claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return encodeURL([]byte(header)) + "." + encodeURL(payload)
}

// forgedWithPublicKey is the old confusion of algorithms: an HMAC whose secret everybody knows.
func (i issuer) forgedWithPublicKey() string {
	signed := unsigned(`{"alg":"HS256","kid":"k1"}`, i.claims(nil))
	mac := hmac.New(sha256.New, x509.MarshalPKCS1PublicKey(&i.key.PublicKey))
	mac.Write([]byte(signed))
	return signed + "." + encodeURL(mac.Sum(nil))
}

// swapped has a good signature, but of other claims.
func (i issuer) swapped() string {
	parts := strings.Split(i.token(nil), ".")
	parts[1] = strings.Split(unsigned("{}", i.claims(claims{"sub": "2"})), ".")[1]
	return strings.Join(parts, ".")
}

func TestGuard(t *testing.T) {
	t.Parallel()
	ours := newIssuer(t)
	guard, err := NewGuard(ours.caller())
	if err != nil {
		t.Fatal(err)
	}
	ago, soon := time.Now().Add(-time.Minute).Unix(), time.Now().Add(time.Hour).Unix()
	tests := map[string]struct {
		authorization string
		want          int
	}{
		"good":                 {"Bearer " + ours.token(nil), 0},
		"scheme in lower case": {"bearer " + ours.token(nil), 0},
		"one of two audiences": {"Bearer " + ours.token(claims{"aud": []string{"x", "https://relay.example"}}), 0},
		"nothing":              {"", 401},
		"no scheme":            {ours.token(nil), 401},
		"other scheme":         {"Basic " + ours.token(nil), 401},
		"empty":                {"Bearer ", 401},
		"rubbish":              {"Bearer x.y.z", 401},
		"two tokens":           {"Bearer " + ours.token(nil) + " " + ours.token(nil), 401},
		"issuer":               {"Bearer " + ours.token(claims{"iss": "http://127.0.0.1:1"}), 401},
		"no issuer":            {"Bearer " + ours.token(claims{"iss": nil}), 401},
		"audience":             {"Bearer " + ours.token(claims{"aud": "https://relay.example.org"}), 401},
		"no audience":          {"Bearer " + ours.token(claims{"aud": nil}), 401},
		"expired":              {"Bearer " + ours.token(claims{"exp": ago}), 401},
		"no expiry":            {"Bearer " + ours.token(claims{"exp": nil}), 401},
		"not yet":              {"Bearer " + ours.token(claims{"nbf": soon}), 401},
		"claim of wrong type":  {"Bearer " + ours.token(claims{"email": 7}), 401},
		"signature":            {"Bearer " + signRS256(otherKey(), `{"alg":"RS256","kid":"k1"}`, ours.claims(nil)), 401},
		"unknown key":          {"Bearer " + signRS256(ours.key, `{"alg":"RS256","kid":"k2"}`, ours.claims(nil)), 401},
		"swapped claims":       {"Bearer " + ours.swapped(), 401},
		"unsigned":             {"Bearer " + unsigned(`{"alg":"none"}`, ours.claims(nil)) + ".", 401},
		"HMAC":                 {"Bearer " + ours.forgedWithPublicKey(), 401},
		"e-mail":               {"Bearer " + ours.token(claims{"email": "x" + ours.caller().Email}), 403},
		"no e-mail":            {"Bearer " + ours.token(claims{"email": nil}), 403},
		"e-mail not verified":  {"Bearer " + ours.token(claims{"email_verified": false}), 403},
		"e-mail not said so":   {"Bearer " + ours.token(claims{"email_verified": nil}), 403},
	}
	for name, tt := range tests {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		request.Header.Set("Authorization", tt.authorization)
		got, err := guard.Check(request)
		if got != tt.want || (err == nil) != (tt.want == 0) {
			t.Errorf("%s: got %d (%v), want %d", name, got, err, tt.want)
		}
		if _, token, _ := strings.Cut(tt.authorization, " "); err != nil && len(token) > 20 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error contains the token", name)
		}
	}
}

func TestGuardStaysShutWithoutKeys(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	caller := i.caller()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	caller.Issuer.KeysURL = gone.URL
	guard, err := NewGuard(caller)
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	request.Header.Set("Authorization", "Bearer "+i.token(nil))
	if got, err := guard.Check(request); got != http.StatusUnauthorized || err == nil {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestGuardNeedsEverySetting(t *testing.T) {
	t.Parallel()
	for _, incomplete := range []func(*Caller){
		func(c *Caller) { c.Issuer.Name = "" },
		func(c *Caller) { c.Issuer.KeysURL = "" },
		func(c *Caller) { c.Audience = "" },
		func(c *Caller) { c.Email = "" },
	} {
		caller := Caller{Issuer{"i", "k"}, "a", "e"}
		incomplete(&caller)
		if _, err := NewGuard(caller); err == nil {
			t.Errorf("%+v was accepted", caller)
		}
	}
}
