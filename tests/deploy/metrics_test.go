package deploy

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/functions/claim"
	"github.com/keypackage-delivery/keypackage-delivery/functions/deliver"
	"github.com/keypackage-delivery/keypackage-delivery/functions/expire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// burned are the reasons for which a delivery's package is lost. They are counted only when it happens.
var burned = []string{
	keypackage.ExpiredExposureUnknown, keypackage.ExpiredParked, keypackage.ExpiredTombstoned, keypackage.ExpiredPackageOver,
}

// TestMetricsReadWhatIsLogged compares the fields that the log-based metrics extract with the lines that the functions
// really write.
func TestMetricsReadWhatIsLogged(t *testing.T) {
	t.Parallel()
	metrics := terraform(t, "metrics.tf")
	lines := playOneRequest(t)

	linesOf := map[string]string{
		"local.answer_line": claim.EntryPoint, "local.lines." + deliver.EntryPoint: deliver.EntryPoint,
		"local.lines." + expire.EntryPoint: expire.EntryPoint,
	}
	counted := regexp.MustCompile(`\{ lines = (\S+), field = "(\w+)"`).FindAllStringSubmatch(metrics, -1)
	if len(counted) < 10 {
		t.Fatalf("only %d counts were found in metrics.tf", len(counted))
	}
	for _, metric := range counted {
		function, field := linesOf[metric[1]], metric[2]
		if reason, ok := strings.CutPrefix(field, "burned_"); ok && function == expire.EntryPoint && slices.Contains(burned, reason) {
			continue
		}
		if _, ok := group(lines[function], "counts")[field].(float64); !ok {
			t.Errorf("%s does not log counts.%s", function, field)
		}
	}
	for function, durations := range map[string][]string{
		claim.EntryPoint: {"receipt_to_answer", "total"}, deliver.EntryPoint: {"request_to_delivery", "total"}, expire.EntryPoint: {"total"},
	} {
		for _, name := range durations {
			if _, ok := group(lines[function], "durations_ms")[name].(float64); !ok {
				t.Errorf("%s does not log durations_ms.%s", function, name)
			}
		}
	}
	for _, function := range []string{claim.EntryPoint, deliver.EntryPoint} {
		if id, _ := lines[function]["request_event_id"].(string); len(id) != 64 {
			t.Errorf("%s does not log request_event_id", function)
		}
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

// TestEveryOutcomeIsJudged: the service level for answers knows all outcomes of served requests.
func TestEveryOutcomeIsJudged(t *testing.T) {
	t.Parallel()
	served := regexp.MustCompile(`(?m)^  (?:answered|served)\s+= (.*)$`).FindAllString(terraform(t, "slo.tf"), -1)
	got := submatches(strings.Join(served, "\n"), `"(\w+)"`)
	want := []keypackage.Outcome{keypackage.OutcomeGranted, keypackage.OutcomeLimited, keypackage.OutcomeNoMatch,
		keypackage.OutcomeNone, keypackage.OutcomePartial}
	if len(got) != len(want) {
		t.Fatalf("the service level judges %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != string(want[i]) {
			t.Errorf("the service level judges %v, want %v", got, want)
		}
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
	constants := map[string]string{
		"FieldOwner": keypackage.FieldOwner, "FieldCreatedAt": keypackage.FieldCreatedAt,
		"FieldExpiresAt": keypackage.FieldExpiresAt, "FieldReceivedAt": keypackage.FieldReceivedAt,
	}
	collections := map[string]string{
		"keyPackages": "mls_keypackages", "requests": "mls_keypackage_requests", "deliveries": "mls_pending_deliveries",
		"claims": "mls_keypackage_claims", "ledger": "mls_keypackage_ledger", "ownerRecords": "mls_keypackage_owners",
	}
	fields := make(map[string]bool)
	for _, function := range strings.Split(sourceOf(t, filepath.Join("shared", "store", "*.go")), "\nfunc ") {
		of := submatches(function, `\bs\.(keyPackages|requests|deliveries|claims|ledger|ownerRecords)\.`)
		if len(of) == 0 {
			of = []string{"*"}
		}
		for _, name := range submatches(function, `(?:Where|OrderBy)\((?:keypackage\.)?"?(\w+)`) {
			field, known := constants[name]
			if strings.HasPrefix(name, "Field") && !known {
				t.Fatalf("a query uses %s, which this test does not know", name)
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

func group(line logLine, name string) map[string]any {
	fields, _ := line[name].(map[string]any)
	return fields
}
