package deploy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const clientGuide = "shared/keypackage/README.md"

// TestExamplesAreReal: an event that a page shows is one that the code would take.
func TestExamplesAreReal(t *testing.T) {
	t.Parallel()
	kinds := make(map[int]bool)
	for _, text := range regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllStringSubmatch(sourceOf(t, clientGuide), -1) {
		event, err := keypackage.VerifyEvent(text[1])
		if err != nil {
			t.Fatalf("%v:\n%s", err, text[1])
		}
		kinds[event.Kind] = true
		switch event.Kind {
		case keypackage.KindKeyPackage:
			if kp, err := mls.ParseContent(event.Content); err != nil || mls.Verify(kp, event.PubKey) != nil {
				t.Errorf("the KeyPackage of the example is none (%v)", err)
			}
		case keypackage.KindRequest:
			document := keypackage.RequestDocument{ID: event.ID, Event: text[1], Kind: keypackage.KindRequest, HasKind: true}
			if _, err := keypackage.ParseRequest(document, 10); err != nil {
				t.Error(err)
			}
		case keypackage.KindOutcome:
			var outcome relayapi.Outcome
			if err := json.Unmarshal([]byte(event.Content), &outcome); err != nil {
				t.Error(err)
			} else if again, _ := json.Marshal(outcome); string(again) != event.Content {
				t.Errorf("the gateway would write the outcome of the example as %s", again)
			}
		}
	}
	for _, kind := range []int{keypackage.KindKeyPackage, keypackage.KindRequest, keypackage.KindOutcome, keypackage.KindLevel} {
		if !kinds[kind] {
			t.Errorf("%s shows no event of kind %d", clientGuide, kind)
		}
	}
}

// neverTold are reasons that no client is told: of what cannot be parsed, of what passes with time, of a REQ that a 30443
// answers, and of a request that is only observed.
var neverTold = []string{
	"encoding", "malformed", "version", "lifetime_not_begun", "lifetime_expired",
	keypackage.ReasonAddressable, string(keypackage.OutcomeObserved),
}

// TestGuideExplainsEveryWord: what a client may be told stands in the client guide.
func TestGuideExplainsEveryWord(t *testing.T) {
	t.Parallel()
	guide := sourceOf(t, clientGuide)
	for file, pattern := range map[string]string{
		"shared/mls/reason.go":         `\bReason = "(\w+)"`,
		"shared/keypackage/package.go": `\bFlaw\w+\s*= "(\w+)"`,
		"shared/keypackage/request.go": `\bRejection = "(\w+)"`,
		"shared/keypackage/claim.go":   `\b(?:Reason\w+|Outcome\w+ Outcome)\s*= "(\w+)"`,
		"shared/keypackage/level.go":   `\bLevel = "(\w+)"`,
	} {
		words := submatches(sourceOf(t, file), pattern)
		if len(words) < 4 {
			t.Errorf("%s: only %v were found", file, words)
		}
		for _, word := range words {
			if !slices.Contains(neverTold, word) && !strings.Contains(guide, "`"+word+"`") {
				t.Errorf("%s: the client guide does not explain %s", file, word)
			}
		}
	}
}

// TestSettingsAreDescribed: what can be set stands on the page of the functions or on that of the gateway.
func TestSettingsAreDescribed(t *testing.T) {
	t.Parallel()
	pages := sourceOf(t, "terraform/README.md") + sourceOf(t, "shared/gateway/README.md")
	for name := range environments(t) {
		if !strings.Contains(pages, "| `"+name+"`") && !strings.Contains(pages, ", `"+name+"` |") {
			t.Errorf("no table of settings has %s", name)
		}
	}
}

// TestBoundsAreDescribed: the gateway's page has the figures of the code. Thousands have a comma there, and sizes their unit.
func TestBoundsAreDescribed(t *testing.T) {
	t.Parallel()
	page := strings.ReplaceAll(sourceOf(t, "shared/gateway/README.md"), ",", "")
	limits := bounds.Others()
	for name, n := range bounds.Limitation() {
		limits[name] = n
	}
	for name, bound := range limits {
		var figure string
		switch b := bound.(type) {
		case int:
			figure = strconv.Itoa(b)
			if b >= 1<<16 {
				figure = fmt.Sprintf("%d KiB", b>>10)
			}
		case map[string]any:
			figure = fmt.Sprintf("%v then %v", b["burst"], b["per_second"])
		}
		if figure == "" || !regexp.MustCompile(`\b`+figure+`\b`).MatchString(page) {
			t.Errorf("%s is %q, which the gateway's page does not say", name, figure)
		}
	}
}
