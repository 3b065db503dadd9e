package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/functions/claim"
	"github.com/keypackage-delivery/keypackage-delivery/functions/deliver"
	"github.com/keypackage-delivery/keypackage-delivery/functions/expire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

var entryPoints = []string{claim.EntryPoint, deliver.EntryPoint, expire.EntryPoint}

func TestTerraformDeploysTheRegisteredEntryPoints(t *testing.T) {
	t.Parallel()
	got := submatches(terraform(t, "function_*.tf"), `entry_point\s*=\s*"(\w+)"`)
	if !slices.Equal(got, slices.Sorted(slices.Values(entryPoints))) {
		t.Errorf("terraform deploys %v, the code registers %v", got, entryPoints)
	}
}

// TestTerraformSetsEverySetting compares the variables that Terraform gives the functions with those that they read.
func TestTerraformSetsEverySetting(t *testing.T) {
	t.Parallel()
	got := slices.Sorted(maps.Keys(environment(t)))
	if want := settings(t); !slices.Equal(got, want) {
		t.Errorf("terraform sets %v\nthe functions read %v", got, want)
	}
}

// TestTerraformHasTheFunctionsDefaults: leaving a variable out means the same in Terraform as in the environment.
func TestTerraformHasTheFunctionsDefaults(t *testing.T) {
	t.Parallel()
	required := map[string]string{"GOOGLE_CLOUD_PROJECT": "my-project", "RELAY_DELIVERY_URL": "https://relay.example.com/x"}
	deployed := maps.Clone(required)
	for name, expression := range environment(t) {
		if _, ok := required[name]; !ok {
			deployed[name] = evaluate(t, expression)
		}
	}
	if got, want := load(t, deployed), load(t, required); !reflect.DeepEqual(got, want) {
		t.Errorf("terraform's defaults give %+v\nthe functions' own %+v", got, want)
	}
}

// TestTerraformRefusesWhatTheFunctionsRefuse: bounds that only one of them knows let an operator deploy what cannot start.
func TestTerraformRefusesWhatTheFunctionsRefuse(t *testing.T) {
	t.Parallel()
	for variable, name := range map[string]string{
		"request_max_age": "REQUEST_MAX_AGE", "delivery_ttl": "DELIVERY_TTL",
		"pair_limit_per_hour": "PAIR_LIMIT_PER_HOUR", "owner_budget_per_hour": "OWNER_BUDGET_PER_HOUR",
	} {
		condition := submatches(terraform(t, "variables.tf"), `var\.`+variable+` >= (\d+ && var\.`+variable+` <= \d+)`)
		bounds := submatches(strings.Join(condition, ""), `\b(\d+)\b`)
		if len(bounds) != 2 {
			t.Fatalf("%s: no bounds found", variable)
		}
		unit := strings.TrimSuffix(strings.TrimPrefix(environment(t)[name], `"${var.`+variable+`}`), `"`)
		if unit != "s" {
			unit = ""
		}
		for _, bound := range bounds {
			n, _ := strconv.Atoi(bound)
			for value, valid := range map[int]bool{n - 1: n-1 >= minimum(bounds), n: true, n + 1: n+1 <= maximum(bounds)} {
				_, err := config.Load(lookup(map[string]string{config.Project: "my-project", name: strconv.Itoa(value) + unit}))
				if (err == nil) != valid {
					t.Errorf("terraform takes %s = %d: %v, the functions say: %v", variable, value, valid, err)
				}
			}
		}
	}
}

func minimum(numbers []string) int { return slices.Min(ints(numbers)) }
func maximum(numbers []string) int { return slices.Max(ints(numbers)) }

func ints(numbers []string) []int {
	list := make([]int, len(numbers))
	for i, n := range numbers {
		list[i], _ = strconv.Atoi(n)
	}
	return list
}

// TestRefusalsStateTheRule: a validation that knows bounds names them in its message.
func TestRefusalsStateTheRule(t *testing.T) {
	t.Parallel()
	for _, block := range regexp.MustCompile(`(?s)validation \{.*?\n  \}`).FindAllString(terraform(t, "variables.tf"), -1) {
		condition, message, _ := strings.Cut(block, "error_message")
		for _, bound := range submatches(condition, `[<>]= (\d+)`) {
			if !regexp.MustCompile(`\b` + bound + `\b`).MatchString(message) {
				t.Errorf("the message does not name the bound %s:\n%s", bound, block)
			}
		}
	}
}

// terraform returns the files of the module that match, as one text.
func terraform(t *testing.T, pattern string) string {
	t.Helper()
	return sourceOf(t, filepath.Join("terraform", pattern))
}

// sourceOf returns the files of the repository that match, as one text.
func sourceOf(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s (%v)", pattern, err)
	}
	var text strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(content)
	}
	return text.String()
}

// submatches returns what the pattern's group matched, sorted and without repetitions.
func submatches(text, pattern string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// environment returns the settings that Terraform gives all functions, as expressions.
func environment(t *testing.T) map[string]string {
	t.Helper()
	block := regexp.MustCompile(`(?s)environment = \{\n(.*?)\n  \}`).FindStringSubmatch(terraform(t, "functions.tf"))
	if block == nil {
		t.Fatal("functions.tf has no environment")
	}
	env := make(map[string]string)
	for _, line := range strings.Split(block[1], "\n") {
		name, expression, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[strings.TrimSpace(name)] = strings.TrimSpace(expression)
	}
	return env
}

// evaluate returns the value of an expression when every variable has its default. It understands what is used there:
// a variable, a collection, either inside a string or a conversion, and the name of a topic.
func evaluate(t *testing.T, expression string) string {
	t.Helper()
	variables := terraform(t, "variables.tf")
	find := func(text, pattern string) string {
		match := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("%s: no match for %s", expression, pattern)
		}
		return match[1]
	}
	if topic, ok := strings.CutPrefix(expression, "google_pubsub_topic."); ok {
		return find(terraform(t, "pubsub.tf"), `"google_pubsub_topic" "`+strings.TrimSuffix(topic, ".name")+`" \{\s*name\s*=\s*"(.*?)"`)
	}
	if collection, ok := strings.CutPrefix(expression, "var.collections."); ok {
		return find(variables, collection+`\s*=\s*optional\(string, "(.*?)"\)`)
	}
	variable := find(expression, `var\.(\w+)`)
	value := strings.Trim(find(variables, `(?s)variable "`+variable+`" \{.*?default\s*=\s*(\S+)`), `"`)
	switch {
	case value == "null":
		return ""
	case strings.HasSuffix(expression, `}s"`):
		return value + "s"
	}
	return value
}

// settings returns the names of all variables that the functions read.
func settings(t *testing.T) []string {
	t.Helper()
	var names []string
	_, err := config.Load(func(name string) (string, bool) {
		names = append(names, name)
		return map[string]string{config.Project: "my-project"}[name], true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func load(t *testing.T, env map[string]string) config.Config {
	t.Helper()
	cfg, err := config.Load(lookup(env), config.RelayDeliveryURL)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}
