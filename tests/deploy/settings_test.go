package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// TestFunctionsJudgeAsTerraform holds the functions to the table by which terraform/tests/settings/run tests Terraform: what
// only one of them refuses can be deployed and cannot start, or vanishes without a word.
func TestFunctionsJudgeAsTerraform(t *testing.T) {
	t.Parallel()
	judged := 0
	for name, run := range settingsTable(t) {
		given := settingsOf(t, run.Variables)
		if len(given) == 0 || slices.Contains(ofDeploymentOnly, name) {
			continue
		}
		judged++
		env := map[string]string{config.Project: "demo-project", config.RelayDeliveryURL: "https://relay.example.com/x"}
		maps.Copy(env, given)
		_, err := config.Load(lookup(env), config.RelayDeliveryURL)
		if refused := len(run.ExpectFailures) > 0; (err != nil) != refused {
			t.Errorf("%s: of %v the functions say: %v", name, given, err)
		}
		for variable := range given {
			if err != nil && !strings.Contains(err.Error(), variable+": ") {
				t.Errorf("%s: the fault does not name %s: %v", name, variable, err)
			}
		}
	}
	if judged < 50 {
		t.Errorf("only %d rows concern the functions", judged)
	}
}

// ofDeploymentOnly are rows that concern more than the settings: the network, the number of instances, and the type of a
// variable of Terraform.
var ofDeploymentOnly = []string{
	"refuses_gateway_upstream_ws_10_0_0_7_7777", "refuses_gateway_requests_served_by_functions", "refuses_gateway_hosts_keys_example_com",
}

// settingsRun is one row of the table, in the form of a Terraform test.
type settingsRun struct {
	Command        string         `json:"command"`
	Variables      map[string]any `json:"variables"`       // besides the smallest that work
	ExpectFailures []string       `json:"expect_failures"` // the variable that is refused
}

func settingsTable(t *testing.T) map[string]settingsRun {
	t.Helper()
	var file struct{ Run []map[string]settingsRun }
	decoder := json.NewDecoder(strings.NewReader(sourceOf(t, "terraform/tests/settings/settings.tftest.json")))
	decoder.UseNumber()
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	table := make(map[string]settingsRun)
	for _, named := range file.Run {
		maps.Copy(table, named)
	}
	if len(table) != len(file.Run) {
		t.Fatalf("%d rows have %d names", len(file.Run), len(table))
	}
	return table
}

// settingsOf returns what Terraform makes of its variables for the functions, of the settings that they read.
func settingsOf(t *testing.T, variables map[string]any) map[string]string {
	t.Helper()
	reference := regexp.MustCompile(`\b(?:var|local)\.(\w+)(?:\.(\w+))?`)
	read, given := settings(t), make(map[string]string)
	for name, expression := range environments(t) {
		match := reference.FindStringSubmatch(expression)
		if match == nil || !slices.Contains(read, name) {
			continue
		}
		value := variables[match[1]]
		if match[2] != "" {
			fields, _ := value.(map[string]any) // of the wrong type: that is Terraform's business
			value = fields[match[2]]
		}
		if value != nil {
			given[name] = settingText(value)
			if strings.HasSuffix(expression, `}s"`) {
				given[name] += "s"
			}
		}
	}
	return given
}

func settingText(value any) string {
	switch v := value.(type) {
	case bool:
		return map[bool]string{true: "on", false: "off"}[v]
	case []any:
		var names []string
		for _, name := range v {
			names = append(names, fmt.Sprint(name))
		}
		return strings.Join(names, ",")
	}
	return fmt.Sprint(value)
}
