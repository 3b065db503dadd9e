package deploy

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/functions/claim"
	"github.com/keypackage-delivery/keypackage-delivery/functions/deliver"
	"github.com/keypackage-delivery/keypackage-delivery/functions/expire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// burned are the reasons for which a delivery's package is lost. They are counted only when it happens.
var burned = []string{
	keypackage.ExpiredExposureUnknown, keypackage.ExpiredParked, keypackage.ExpiredTombstoned, keypackage.ExpiredPackageOver,
}

// onlyIfAny are counts that a line has only if they are not zero.
var onlyIfAny = []string{"counts.unmarked", "counts.dismissed", "counts.unreadable"}

// TestMetricsReadWhatIsLogged applies the filters to the lines that the functions really write, and looks for the fields
// that the metrics extract.
func TestMetricsReadWhatIsLogged(t *testing.T) {
	t.Parallel()
	played, filters := playRequests(t), filters(t)
	for _, metric := range extracted(t) {
		filter, field := filters[metric.lines], metric.field
		if reason, ok := strings.CutPrefix(field, "counts.burned_"); ok && slices.Contains(burned, reason) {
			continue
		}
		if slices.Contains(onlyIfAny, field) || metric.lines == "gateway_line" { // the gateway is not played here
			continue
		}
		read := 0
		for _, lines := range played {
			for _, line := range lines {
				if !matches(t, filter, line) {
					continue
				}
				if _, ok := lookUp(line, "jsonPayload."+field).(float64); ok {
					read++
				}
			}
		}
		if read == 0 {
			t.Errorf("no line that matches %s has %s", filter, field)
		}
	}
}

// metric is what a metric extracts, and the local whose filter chooses its lines.
type metric struct{ lines, field string }

func extracted(t *testing.T) []metric {
	t.Helper()
	text := terraform(t, "metrics.tf")
	metrics := []metric{{"answer_line", "durations_ms.receipt_to_answer"}, {"push_line", "durations_ms.request_to_delivery"}}
	for _, m := range regexp.MustCompile(`\{ lines = local\.(\w+), field = "(\w+)"`).FindAllStringSubmatch(text, -1) {
		metrics = append(metrics, metric{m[1], "counts." + m[2]})
	}
	if len(metrics) < 12 {
		t.Fatalf("only %d metrics were found", len(metrics))
	}
	return metrics
}

// TestLinesAreNotMistaken: each kind of line is counted as what it is, and once. Four calls were made, and two requests
// answered, one of them by a call of ExpireDeliveries, which must not pass for two calls of it.
func TestLinesAreNotMistaken(t *testing.T) {
	t.Parallel()
	played, filters := playRequests(t), filters(t)
	for name, want := range map[string]map[string]int{
		"invocation_line": {claim.EntryPoint: 2, deliver.EntryPoint: 1, expire.EntryPoint: 1},
		"answer_line":     {claim.EntryPoint: 1, expire.EntryPoint: 1},
		"push_line":       {deliver.EntryPoint: 1},
		"expiry_line":     {expire.EntryPoint: 1},
		"gateway_line":    {},
	} {
		got := make(map[string]int)
		for function, lines := range played {
			for _, line := range lines {
				if matches(t, filters[name], line) {
					got[function]++
				}
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if n := len(played[expire.EntryPoint]); n != 2 {
		t.Errorf("ExpireDeliveries wrote %d lines, want its own and one for the request that it took up", n)
	}
}

// TestEveryLossIsCounted: a reason that no metric counts would be a loss that nobody sees.
func TestEveryLossIsCounted(t *testing.T) {
	t.Parallel()
	got := submatches(terraform(t, "metrics.tf"), `field = "burned_(\w+)"`)
	if want := slices.Sorted(slices.Values(burned)); !slices.Equal(got, want) {
		t.Errorf("metrics count the losses %v, want %v", got, want)
	}
}

// ownDoing are outcomes that a requester can bring about at will: counting them would let strangers page.
var ownDoing = []keypackage.Outcome{keypackage.OutcomeLimited, keypackage.OutcomeNoMatch}

// TestEveryOutcomeIsJudged: the service level for answers knows all outcomes of served requests but those.
func TestEveryOutcomeIsJudged(t *testing.T) {
	t.Parallel()
	judged := regexp.MustCompile(`(?m)^  (?:answered|unanswered)\s+= (.*)$`).FindAllString(terraform(t, "slo.tf"), -1)
	got := submatches(strings.Join(judged, "\n"), `"(\w+)"`)
	for _, outcome := range []keypackage.Outcome{keypackage.OutcomeGranted, keypackage.OutcomeLimited, keypackage.OutcomeNoMatch,
		keypackage.OutcomeNone, keypackage.OutcomePartial} {
		if slices.Contains(got, string(outcome)) == slices.Contains(ownDoing, outcome) {
			t.Errorf("the service level judges %v, and must %s only if it is not the requester's own doing", got, outcome)
		}
	}
	if reason := strconv.Quote(claiming.ReasonOutOfStock); strings.Count(terraform(t, "slo.tf"), strings.ReplaceAll(reason, `"`, `\"`)) < 3 {
		t.Errorf("requests for owners out of stock count, whose reason is %s", reason)
	}
}

// TestNoIndexIsMissingThatAQueryNeeds: a field without an index of its own may be used in a query only together with a
// composite index of its collection. The emulator would answer all the same.
func TestNoIndexIsMissingThatAQueryNeeds(t *testing.T) {
	t.Parallel()
	var declared struct {
		Indexes []struct {
			CollectionGroup string
			Fields          []struct{ FieldPath string }
		}
		FieldOverrides []struct{ CollectionGroup, FieldPath string }
	}
	content, err := os.ReadFile(filepath.Join(root, "shared", "store", "indexes.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &declared); err != nil {
		t.Fatal(err)
	}
	composite := make(map[string]bool)
	for _, index := range declared.Indexes {
		for _, field := range index.Fields {
			composite[index.CollectionGroup+" "+field.FieldPath] = true
		}
	}
	queried := queriedFields(t)
	for _, field := range declared.FieldOverrides {
		name := field.CollectionGroup + " " + field.FieldPath
		if (queried[name] || queried["* "+field.FieldPath]) && !composite[name] {
			t.Errorf("a query uses %s, which has no index", name)
		}
	}
}

// queriedFields returns "collection field" for the conditions and orders of the store's queries, with * for a query that
// does not name its collection in the same function.
func queriedFields(t *testing.T) map[string]bool {
	t.Helper()
	constants := fieldNames(t)
	collections := map[string]string{
		"keyPackages": "mls_keypackages", "requests": "mls_keypackage_requests", "deliveries": "mls_pending_deliveries",
		"claims": "mls_keypackage_claims", "ledger": "mls_keypackage_ledger", "owners": "mls_keypackage_owners",
	}
	fields := make(map[string]bool)
	for _, function := range strings.Split(sourceOf(t, filepath.Join("shared", "store", "*.go")), "\nfunc ") {
		of := submatches(function, `\bs\.(keyPackages|requests|deliveries|claims|ledger|owners)\.`)
		if len(of) == 0 {
			of = []string{"*"}
		}
		for _, name := range submatches(function, `(?:Where|OrderBy)\((?:keypackage\.)?"?(\w+)`) {
			field, known := constants[name]
			if strings.HasPrefix(name, "Field") && !known {
				t.Fatalf("a query uses %s, which is no constant of a field's name", name)
			}
			for _, collection := range of {
				fields[cmp.Or(collections[collection], "*")+" "+cmp.Or(field, name)] = true
			}
		}
	}
	if len(fields) < 6 {
		t.Fatalf("only %v were found", slices.Sorted(maps.Keys(fields)))
	}
	return fields
}

// fieldNames returns what the constants of fields' names stand for.
func fieldNames(t *testing.T) map[string]string {
	t.Helper()
	names := make(map[string]string)
	source := sourceOf(t, filepath.Join("shared", "keypackage", "*.go"))
	for _, constant := range regexp.MustCompile(`\b(Field\w+)\s*=\s*"(\w+)"`).FindAllStringSubmatch(source, -1) {
		names[constant[1]] = constant[2]
	}
	return names
}
