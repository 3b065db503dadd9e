package deploy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryAlertHasItsPlaybook: each alert links to a heading of the playbook, and each such heading has its alert.
func TestEveryAlertHasItsPlaybook(t *testing.T) {
	t.Parallel()
	var linked []string
	for _, name := range keysOf(t, terraform(t, "alerts.tf"), `alerts = \{`) {
		linked = append(linked, "alert-"+name)
	}
	for _, name := range append(keysOf(t, terraform(t, "function_gateway.tf"), `gateway_alerts = var.gateway == null \? \{\} : \{`), "gateway-absent") {
		linked = append(linked, "alert-"+name)
	}
	for _, name := range keysOf(t, terraform(t, "slo.tf"), `service_levels = \{`) {
		linked = append(linked, "service-level-"+name)
	}
	slices.Sort(linked)
	var headings []string
	for _, heading := range submatches(sourceOf(t, "terraform/PLAYBOOK.md"), `(?m)^#+ ((?:Alert|Service level): .*)$`) {
		headings = append(headings, anchor(heading))
	}
	slices.Sort(headings)
	if len(linked) < 10 || !slices.Equal(linked, headings) {
		t.Errorf("alerts link to %v\nthe playbook has %v", linked, headings)
	}
}

// TestPlaybookExplainsEveryReason: why a call is asked for again stands in the playbook.
func TestPlaybookExplainsEveryReason(t *testing.T) {
	t.Parallel()
	playbook := sourceOf(t, "terraform/PLAYBOOK.md")
	var reasons []string
	for _, files := range []string{"shared/claiming/*.go", "shared/delivering/*.go", "shared/store/*.go", "shared/invocation/*.go"} {
		reasons = append(reasons, submatches(sourceOf(t, files), `(?:fault\.Retryable|retryLater)\("(\w+)"`)...)
	}
	if len(reasons) < 8 {
		t.Errorf("only %v were found", reasons)
	}
	for _, reason := range reasons {
		if !strings.Contains(playbook, "`"+reason+"`") {
			t.Errorf("the playbook does not explain %s", reason)
		}
	}
}

// keysOf returns the keys of a map of objects in a block of locals, which begins as the pattern says.
func keysOf(t *testing.T, text, beginning string) []string {
	t.Helper()
	block := regexp.MustCompile(`(?s)\n  ` + beginning + `\n(.*?)\n  \}\n`).FindStringSubmatch(text)
	if block == nil {
		t.Fatalf("no map %s", beginning)
	}
	return submatches(block[1], `(?m)^    ([\w-]+) = \{$`)
}

// anchor is how readers are led to a heading: lower case, words joined by hyphens, no other punctuation.
func anchor(heading string) string {
	kept := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(kept, " ", "-")
}
