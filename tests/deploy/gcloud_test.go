package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// recorder stands in for gcloud: it notes its arguments, one call a line, and answers what the commands ask for.
const recorder = `#!/bin/sh
for argument in "$@"; do printf '%s\037' "$argument"; done >>"$CALLS"
echo >>"$CALLS"
case "$*" in
*projectNumber*) echo 123456789012 ;;
*serviceConfig.uri*) echo "https://$3.example.run.app" ;;
esac
`

// call is one call of gcloud: its words before the flags, and its flags. A flag that was given twice has both values.
type call struct {
	words []string
	flags map[string][]string
}

func (c call) flag(name string) string { return strings.Join(c.flags[name], " ") }

// gcloudPage has the blocks of commands that deploy without Terraform.
const gcloudPage = "terraform/README.md"

// gcloudCalls runs the commands of terraform/README.md as they are written.
func gcloudCalls(t *testing.T) []call {
	t.Helper()
	page := sourceOf(t, gcloudPage)
	script := "set -eu\nexport PROJECT=demo-project REGION=us-central1 DATABASE_LOCATION=nam5 ROLLOUT_MODE=off\n" +
		"export RELAY_DELIVERY_URL=https://relay.example.com/internal/v1/deliveries\n" +
		"export UPSTREAM_RELAY_URL=wss://relay.example.com GATEWAY_HOST=keys.example.com\n"
	for _, block := range []string{"gcloud-once", "gcloud-deploy", "gcloud-connect", "gcloud-gateway"} {
		match := regexp.MustCompile("(?s)```sh " + block + "\n(.*?)```").FindStringSubmatch(page)
		if match == nil {
			t.Fatalf("%s has no block of commands that is marked `sh %s`", gcloudPage, block)
		}
		script += match[1]
	}
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	if err := os.WriteFile(filepath.Join(dir, "gcloud"), []byte(recorder), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CALLS="+calls)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the commands fail: %v\n%s", err, out)
	}
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	return parseCalls(string(text))
}

func parseCalls(text string) []call {
	var all []call
	for line := range strings.Lines(text) {
		c := call{flags: make(map[string][]string)}
		for _, argument := range strings.Split(strings.TrimSuffix(line, "\x1f\n"), "\x1f") {
			if !strings.HasPrefix(argument, "--") {
				c.words = append(c.words, argument)
				continue
			}
			name, value, _ := strings.Cut(argument, "=")
			c.flags[name] = append(c.flags[name], value)
		}
		all = append(all, c)
	}
	return all
}

// find returns the calls that begin with these words.
func find(calls []call, words string) []call {
	var found []call
	for _, c := range calls {
		if strings.HasPrefix(strings.Join(c.words, " ")+" ", words+" ") {
			found = append(found, c)
		}
	}
	return found
}

// TestGcloudDeploysWhatTerraformDeploys compares the functions one by one.
func TestGcloudDeploysWhatTerraformDeploys(t *testing.T) {
	t.Parallel()
	deployed := find(gcloudCalls(t), "functions deploy")
	if len(deployed) != len(entryPoints) {
		t.Fatalf("%d functions are deployed, want %d", len(deployed), len(entryPoints))
	}
	for _, c := range deployed {
		name := c.words[2]
		file := terraform(t, "function_"+functionFile[name]+".tf")
		assertEqual(t, name+": name", name, attribute(t, file, "name"))
		assertEqual(t, name+": entry point", c.flag("--entry-point"), attribute(t, file, "entry_point"))
		assertEqual(t, name+": runtime", c.flag("--runtime"), resolved(t, file, "runtime"))
		assertEqual(t, name+": timeout", c.flag("--timeout"), resolved(t, file, "timeout_seconds")+"s")
		assertEqual(t, name+": concurrency", c.flag("--concurrency"), resolved(t, file, "max_instance_request_concurrency"))
		assertEqual(t, name+": cpu", c.flag("--cpu"), attribute(t, file, "available_cpu"))
		assertEqual(t, name+": memory", c.flag("--memory"), attribute(t, file, "available_memory"))
		assertEqual(t, name+": min instances", c.flag("--min-instances"), resolved(t, file, "min_instance_count"))
		assertEqual(t, name+": max instances", c.flag("--max-instances"), resolved(t, file, "max_instance_count"))
		open, internal := c.flag("--ingress-settings") == "all", c.flag("--ingress-settings") == "internal-only"
		if open != (c.flag("--entry-point") == relayGateway) || open == internal || c.flag("--source") != "." {
			t.Errorf("%s: open, and not the gateway, or closed, and the gateway, or not the repository's root: %v", name, c.flags)
		}
		if (c.flags["--allow-unauthenticated"] != nil) != open || (c.flags["--no-allow-unauthenticated"] != nil) != internal {
			t.Errorf("%s: who may call it is not who can reach it: %v", name, c.flags)
		}
		account, _, _ := strings.Cut(c.flag("--service-account"), "@")
		if !slices.Contains(submatches(file, `account_id\s*=\s*"(.*?)"`), account) {
			t.Errorf("%s: terraform does not run it as %s", name, account)
		}
		required := []string{config.RelayDeliveryURL}
		if open {
			required = []string{config.RelayAudience, config.DeliveryCaller}
		}
		assertSettings(t, name, c.flag("--set-env-vars"), required...)
	}
}

// assertSettings checks that the functions understand the settings, and all of them.
func assertSettings(t *testing.T, name, variables string, required ...string) {
	t.Helper()
	env := make(map[string]string)
	for _, variable := range strings.Split(variables, ",") {
		key, value, _ := strings.Cut(variable, "=")
		env[key] = value
		if !slices.Contains(settings(t), key) {
			t.Errorf("%s: nobody reads %s", name, key)
		}
	}
	if _, err := config.Load(lookup(env), required...); err != nil {
		t.Errorf("%s would not start: %v", name, err)
	}
}

func TestGcloudTriggersAsTerraformDoes(t *testing.T) {
	t.Parallel()
	calls := gcloudCalls(t)
	claim, tf := find(calls, "functions deploy claim-keypackages")[0], terraform(t, "function_claim.tf")
	assertEqual(t, "filters", claim.flag("--trigger-event-filters"), "type="+attribute(t, tf, "event_type")+" database=(default)")
	assertEqual(t, "path", claim.flag("--trigger-event-filters-path-pattern"), "document=mls_keypackage_requests/{request}")
	assertEqual(t, "trigger's region", claim.flag("--trigger-location"), "nam5")
	if claim.flags["--retry"] == nil {
		t.Error("the trigger does not retry")
	}

	push, tf := find(calls, "pubsub subscriptions create deliver-keypackages")[0], terraform(t, "pubsub.tf")
	for flag, want := range map[string]string{
		"--min-retry-delay": attribute(t, tf, "minimum_backoff"), "--max-retry-delay": attribute(t, tf, "maximum_backoff"),
		"--max-delivery-attempts": attribute(t, tf, "max_delivery_attempts"), "--dead-letter-topic": "keypackage-deliveries-dead",
		"--expiration-period": "never", "--ack-deadline": "70", "--topic": "keypackage-deliveries", "--message-retention-duration": "1h",
		"--push-endpoint":            "https://deliver-keypackages.example.run.app",
		"--push-auth-token-audience": "https://deliver-keypackages.example.run.app",
	} {
		assertEqual(t, flag, push.flag(flag), want)
	}

	job, tf := find(calls, "scheduler jobs create http")[0], terraform(t, "function_expire.tf")
	assertEqual(t, "schedule", job.flag("--schedule"), attribute(t, tf, "schedule"))
	assertEqual(t, "job", job.words[4], "expire-deliveries")
	assertEqual(t, "address", job.flag("--uri"), "https://expire-deliveries.example.run.app")
}

// TestGcloudGrantsWhatTerraformGrants compares who is made and what they may do.
func TestGcloudGrantsWhatTerraformGrants(t *testing.T) {
	t.Parallel()
	calls := gcloudCalls(t)
	var accounts, roles []string
	for _, c := range find(calls, "iam service-accounts create") {
		accounts = append(accounts, c.words[3])
	}
	slices.Sort(accounts)
	module := terraform(t, "*.tf")
	if want := submatches(module, `account_id\s*=\s*"(.*?)"`); !slices.Equal(accounts, want) {
		t.Errorf("accounts %v, terraform has %v", accounts, want)
	}
	for _, c := range calls {
		if role := c.flag("--role"); role != "" {
			roles = append(roles, role)
		}
		if role := c.flag("--role"); role == "roles/datastore.user" && !strings.Contains(c.flag("--condition"), `"projects/demo-project/databases/(default)"`) {
			t.Errorf("%v may touch every database", c.words)
		}
	}
	slices.Sort(roles)
	if want := submatches(module, `"(roles/[\w.]+)"`); !slices.Equal(slices.Compact(roles), want) {
		t.Errorf("roles %v, terraform grants %v", slices.Compact(roles), want)
	}
}

func TestGcloudCreatesTheDeclaredIndexes(t *testing.T) {
	t.Parallel()
	var declared struct {
		Indexes []struct {
			CollectionGroup string
			Fields          []struct{ FieldPath, Order string }
		}
		FieldOverrides []struct {
			CollectionGroup, FieldPath string
			TTL                        bool
		}
	}
	if err := json.Unmarshal([]byte(sourceOf(t, "shared/store/indexes.json")), &declared); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, index := range declared.Indexes {
		name := index.CollectionGroup
		for _, field := range index.Fields {
			name += " field-path=" + field.FieldPath + ",order=" + strings.ToLower(field.Order)
		}
		want = append(want, name)
	}
	for _, field := range declared.FieldOverrides {
		if field.TTL {
			want = append(want, field.CollectionGroup+" ttl "+field.FieldPath)
		}
	}
	calls := gcloudCalls(t)
	for _, c := range find(calls, "firestore indexes composite create") {
		got = append(got, c.flag("--collection-group")+" "+c.flag("--field-config"))
	}
	for _, c := range find(calls, "firestore fields ttls update") {
		got = append(got, c.flag("--collection-group")+" ttl "+c.words[4])
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("gcloud makes\n%s\ndeclared are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestGcloudSendsTheSameFiles compares the two readers of .gcloudignore.
func TestGcloudSendsTheSameFiles(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gcloud"); err != nil {
		t.Skip("gcloud is not installed: what it would send is not known here")
	}
	want := strings.Fields(command(t, root, "gcloud", "meta", "list-files-for-upload", "."))
	got := strings.Fields(command(t, root, "go", "run", "./terraform/upload", "-list"))
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the zip has %v\ngcloud sends %v", got, want)
	}
}

// attribute returns the value of the first attribute with that name.
func attribute(t *testing.T, text, name string) string {
	t.Helper()
	match := regexp.MustCompile(`(?m)^\s*` + name + `\s*=\s*"?([^"\s]*(?:\s[^"#\s]+)*)"?`).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("no attribute %s", name)
	}
	return match[1]
}

// functionFile names what follows "function_" in the name of a function's file.
var functionFile = map[string]string{
	"claim-keypackages": "claim", "deliver-keypackages": "deliver", "expire-deliveries": "expire", "relay-gateway": "gateway",
}

// resolved is attribute for one that may be a variable, a value that the functions share, or one of the gateway's defaults.
func resolved(t *testing.T, text, name string) string {
	t.Helper()
	value := attribute(t, text, name)
	if strings.HasPrefix(value, "var.") {
		return evaluate(t, value)
	}
	if key, ok := strings.CutPrefix(value, "local.gateway."); ok {
		return attribute(t, terraform(t, "variables_relay.tf"), key)
	}
	if key, ok := strings.CutPrefix(value, "local."); ok {
		return attribute(t, terraform(t, "functions.tf"), key)
	}
	return value
}

func assertEqual(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: gcloud has %q, terraform %q", what, got, want)
	}
}
