package identity

import (
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	issuer, other := start(t), start(t)
	const audience, email = "https://function.example", "pusher@project.iam.gserviceaccount.com"
	good := mint(t, issuer, audience, email)
	if got, err := issuer.Verify(good, audience); err != nil || got != email {
		t.Fatalf("Verify(good) = %q, %v", got, err)
	}
	later := &Issuer{key: issuer.key, host: issuer.host, now: func() time.Time { return time.Now().Add(lifetime + time.Second) }}

	parts := strings.Split(good, ".")
	foreign := strings.Split(mint(t, issuer, "https://elsewhere.example", email), ".")
	tests := map[string]struct {
		issuer *Issuer
		token  string
	}{
		"empty":             {issuer, ""},
		"rubbish":           {issuer, "a.b.c"},
		"other audience":    {issuer, strings.Join(foreign, ".")},
		"other issuer":      {other, good},
		"expired":           {later, good},
		"exchanged claims":  {issuer, parts[0] + "." + foreign[1] + "." + parts[2]},
		"unsigned":          {issuer, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."},
		"signature cut off": {issuer, parts[0] + "." + parts[1]},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if email, err := test.issuer.Verify(test.token, audience); err == nil {
				t.Errorf("accepted as %q", email)
			}
		})
	}
}

// Google's own client must find the metadata server and be content with what it says. The variable that leads it there is
// the process's, hence not parallel.
func TestGoogleClientFetchesToken(t *testing.T) {
	issuer := start(t)
	t.Setenv("GCE_METADATA_HOST", issuer.Host())
	t.Setenv("HOME", t.TempDir()) // no credentials of the developer
	if err := os.Unsetenv("GOOGLE_APPLICATION_CREDENTIALS"); err != nil {
		t.Fatal(err)
	}

	const audience = "https://relay.example"
	credentials, err := idtoken.NewCredentials(&idtoken.Options{Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	token, err := credentials.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	email, err := issuer.Verify(token.Value, audience)
	if err != nil || email != issuer.FunctionAccount() {
		t.Fatalf("Verify = %q, %v; want %q", email, err, issuer.FunctionAccount())
	}
}

func TestMetadataServerWantsItsHeader(t *testing.T) {
	t.Parallel()
	issuer := start(t)
	res, err := http.Get(issuer.URL() + "/computeMetadata/v1/instance/service-accounts/default/identity?audience=a")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", res.StatusCode)
	}
}

func start(t *testing.T) *Issuer {
	t.Helper()
	issuer, err := Start("test-project")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Stop() })
	return issuer
}

func mint(t *testing.T, issuer *Issuer, audience, email string) string {
	t.Helper()
	token, err := issuer.Mint(audience, email)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
