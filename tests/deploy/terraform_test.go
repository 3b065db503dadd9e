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

const relayGateway = "RelayGateway"

var entryPoints = []string{claim.EntryPoint, deliver.EntryPoint, expire.EntryPoint, relayGateway}

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
	set, read := environments(t), settings(t)
	for name := range set {
		if !slices.Contains(read, name) {
			t.Errorf("terraform sets %s, which nobody reads", name)
		}
	}
	for _, name := range read {
		if _, ok := set[name]; !ok && name != madeByItself {
			t.Errorf("terraform does not set %s", name)
		}
	}
}

// madeByItself is a key that the gateway makes and keeps in Firestore: nobody has to know it.
const madeByItself = "GATEWAY_SECRET_KEY"

// ofDeployment are settings whose values follow from what is deployed.
var ofDeployment = []string{"RELAY_HOSTS", config.DeliveryCaller}

// TestTerraformHasTheFunctionsDefaults: leaving a variable out means the same in Terraform as in the environment.
func TestTerraformHasTheFunctionsDefaults(t *testing.T) {
	t.Parallel()
	required := map[string]string{"GOOGLE_CLOUD_PROJECT": "my-project", "RELAY_DELIVERY_URL": "https://relay.example.com/x"}
	deployed := maps.Clone(required)
	for name, expression := range environments(t) {
		if _, ok := required[name]; !ok && !slices.Contains(ofDeployment, name) {
			deployed[name] = evaluate(t, expression)
		}
	}
	if got, want := load(t, deployed), load(t, required); !reflect.DeepEqual(got, want) {
		t.Errorf("terraform's defaults give %+v\nthe functions' own %+v", got, want)
	}
}

// TestRefusalsStateTheRule: a validation that knows bounds names them in its message.
func TestRefusalsStateTheRule(t *testing.T) {
	t.Parallel()
	for _, block := range regexp.MustCompile(`(?s)validation \{.*?\n  \}`).FindAllString(terraform(t, "variables*.tf"), -1) {
		condition, message, _ := strings.Cut(block, "error_message")
		bounds := submatches(condition, `[<>]= (\d+)`)
		for _, end := range submatches(condition, `range\(\d+, (\d+)\)`) { // which it does not include
			n, err := strconv.Atoi(end)
			if err != nil {
				t.Fatal(err)
			}
			bounds = append(bounds, strconv.Itoa(n-1))
		}
		for _, bound := range bounds {
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

// environments returns the settings that Terraform gives the functions and the gateway, as expressions.
func environments(t *testing.T) map[string]string {
	t.Helper()
	env := make(map[string]string)
	blocks := regexp.MustCompile(`(?sm)^  (?:gateway_)?environment\w* += (?:merge\(local\.environment, )?\{\n(.*?)\n  \}`)
	for _, block := range blocks.FindAllStringSubmatch(terraform(t, "function*.tf"), -1) {
		for _, line := range strings.Split(block[1], "\n") {
			name, expression, _ := strings.Cut(strings.TrimSpace(line), "=")
			env[strings.TrimSpace(name)] = strings.TrimSpace(expression)
		}
	}
	if len(env) < 20 {
		t.Fatalf("only the settings %v were found", slices.Sorted(maps.Keys(env)))
	}
	return env
}

// evaluate returns the value of an expression when every variable has its default. It understands what is used there:
// a variable, inside a string or a conversion or with what stands for null, a collection, and the name of a topic.
func evaluate(t *testing.T, expression string) string {
	t.Helper()
	variables := terraform(t, "variables*.tf")
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
	if collection, ok := strings.CutPrefix(expression, "local.collections."); ok {
		return find(variables, collection+`\s*=\s*"(mls_.*?)"`)
	}
	if match := regexp.MustCompile(`local\.gateway\.(\w+)`).FindStringSubmatch(expression); match != nil {
		value := strings.Trim(find(variables, `(?s)default_gateway = \{.*?\n    `+match[1]+`\s*=\s*(\S+)`), `"`)
		if word, ok := map[string]string{"true": "on", "false": "off"}[value]; ok {
			return word
		}
		return value
	}
	variable := find(expression, `(?:var|local)\.(\w+)`)
	value := strings.Trim(find(variables, `(?s)variable "`+variable+`" \{.*?default\s*=\s*(\S+)`), `"`)
	switch {
	case value == "null" && strings.HasPrefix(expression, "coalesce("):
		return find(expression, `, "(\w+)"\)`)
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
