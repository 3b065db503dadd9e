package identity

import (
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// Whoever checks tokens as the relay does takes those of this issuer, and no others.
func TestTokensAreChecked(t *testing.T) {
	t.Parallel()
	issuer, other := start(t), start(t)
	const audience, email = "https://function.example", "pusher@project.iam.gserviceaccount.com"
	good := mint(t, issuer, audience, email)
	if err := check(t, issuer, good, audience, email); err != nil {
		t.Fatalf("a good token: %v", err)
	}
	parts := strings.Split(good, ".")
	foreign := strings.Split(mint(t, issuer, "https://elsewhere.example", email), ".")
	tests := map[string]struct {
		issuer *Issuer
		token  string
	}{
		"empty":             {issuer, ""},
		"rubbish":           {issuer, "a.b.c"},
		"other account":     {issuer, mint(t, issuer, audience, issuer.FunctionAccount())},
		"other audience":    {issuer, strings.Join(foreign, ".")},
		"other issuer":      {other, good},
		"exchanged claims":  {issuer, parts[0] + "." + foreign[1] + "." + parts[2]},
		"unsigned":          {issuer, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."},
		"signature cut off": {issuer, parts[0] + "." + parts[1]},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if check(t, test.issuer, test.token, audience, email) == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestTokensExpireAndAreMintedAnewBefore(t *testing.T) {
	t.Parallel()
	issuer := start(t)
	synctest.Test(t, func(t *testing.T) {
		const audience = "https://function.example"
		first := mint(t, issuer, audience, "a")
		time.Sleep(lifetime/2 - time.Second)
		if mint(t, issuer, audience, "a") != first {
			t.Error("a token that is good for half an hour is replaced")
		}
		time.Sleep(time.Second)
		if mint(t, issuer, audience, "a") == first {
			t.Error("a token that is good for half an hour only is given out")
		}
	})
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
	if err := check(t, issuer, token.Value, audience, issuer.FunctionAccount()); err != nil {
		t.Error(err)
	}
}

func TestMetadataServerWantsItsHeader(t *testing.T) {
	t.Parallel()
	issuer := start(t)
	res, err := http.Get(At(issuer.Host()).Name + "/computeMetadata/v1/instance/service-accounts/default/identity?audience=a")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", res.StatusCode)
	}
}

func check(t *testing.T, issuer *Issuer, token, audience, email string) error {
	t.Helper()
	guard, err := relayapi.NewGuard(relayapi.Caller{Issuer: At(issuer.Host()), Audience: audience, Email: email})
	if err != nil {
		t.Fatal(err)
	}
	_, err = guard.Check(&http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}})
	return err
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
