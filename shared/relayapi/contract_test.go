package relayapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// document is the OpenAPI description of the endpoint, as JSON values.
var document = sync.OnceValues(func() (any, error) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	var parsed any
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(parsed)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
})

// schema compiles a component of the document.
func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("openapi.json", d); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("openapi.json#/components/schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func validate(t *testing.T, name string, message []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if err := schema(t, name).Validate(value); err != nil {
		t.Errorf("%s is not what the document says: %v", name, err)
	}
}

// TestDocumentNamesEveryField compares the Go types with the document, field by field.
func TestDocumentNamesEveryField(t *testing.T) {
	t.Parallel()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	schemas := d.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for _, message := range []any{DeliveryRequest{}, Delivery{}, Outcome{}, OutcomeRow{}, Granted{}, DeliveryResponse{}, Result{}} {
		kind := reflect.TypeOf(message)
		described := schemas[kind.Name()].(map[string]any)
		var required []string
		for _, name := range described["required"].([]any) {
			required = append(required, name.(string))
		}
		var fields, mandatory []string
		for field := range kind.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			fields = append(fields, name)
			if options == "" {
				mandatory = append(mandatory, name)
			}
		}
		properties := slices.Sorted(maps.Keys(described["properties"].(map[string]any)))
		slices.Sort(fields)
		if !slices.Equal(fields, properties) {
			t.Errorf("%s: Go has %v, the document %v", kind.Name(), fields, properties)
		}
		slices.Sort(required)
		slices.Sort(mandatory)
		if !slices.Equal(mandatory, required) {
			t.Errorf("%s: Go always writes %v, the document requires %v", kind.Name(), mandatory, required)
		}
	}
}

func TestDocumentNamesEveryStatus(t *testing.T) {
	t.Parallel()
	for _, s := range Statuses {
		validate(t, "Status", []byte(`"`+string(s)+`"`))
	}
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	documented := d.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)["Status"].(map[string]any)["oneOf"].([]any)
	for _, choice := range documented {
		if s := Status(choice.(map[string]any)["const"].(string)); !slices.Contains(Statuses, s) {
			t.Errorf("%q is documented, but not known", s)
		}
	}
	if len(documented) != len(Statuses) {
		t.Errorf("%d statuses are documented, want %d", len(documented), len(Statuses))
	}
}

func TestDocumentExampleIsValid(t *testing.T) {
	t.Parallel()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	at := d
	for _, step := range []string{"paths", Path, "post", "requestBody", "content", "application/json", "example"} {
		at = at.(map[string]any)[step]
	}
	example, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "DeliveryRequest", example)
	var decoded DeliveryRequest
	if err := json.Unmarshal(example, &decoded); err != nil || !wellFormed(decoded) {
		t.Errorf("the relay would refuse the example: %v", err)
	}
}

// TestDocumentTakesEveryPush: a relay that holds pushes against the document takes what is sent. A rejected request has one row, which
// names no owner.
func TestDocumentTakesEveryPush(t *testing.T) {
	t.Parallel()
	sent := push()
	sent.Deliveries = nil
	rejected := keypackage.Answer{Dismissal: &keypackage.Dismissal{Requested: 1, Outcome: keypackage.OutcomeRejected, Reason: "future"}}
	for _, rows := range [][]keypackage.Row{nil, rejected.Rows()} {
		sent.Outcome = rows
		body, err := encode(sent)
		if err != nil {
			t.Fatal(err)
		}
		validate(t, "DeliveryRequest", body)
	}
}
