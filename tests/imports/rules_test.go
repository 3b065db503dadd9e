package imports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are all production packages from the bottom to the top: rules, use cases, adapters, assembly, functions, root. A
// package imports from lower layers only.
var layers = [][]string{
	{"shared/fault", "shared/mls", "shared/retry"},
	{"shared/keypackage"},
	{"shared/config", "shared/logging", "shared/rollout"},
	{"shared/claiming", "shared/delivering", "shared/expiring", "shared/publishing"},
	{"shared/gateway/wire", "shared/gateway/outbox", "shared/gateway/bounds"},
	{"shared/gateway/upstream"},
	{"shared/gateway"},
	{"shared/serving"},
	{"shared/store", "shared/topic", "shared/relayapi"},
	{"shared/assembly", "shared/invocation", "shared/trace"},
	{"functions/claim", "functions/deliver", "functions/expire", "functions/gateway"},
	{"."},
}

func layerOf(path string) int {
	return slices.IndexFunc(layers, func(layer []string) bool { return slices.Contains(layer, path) })
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, p := range production(t) {
		layer := layerOf(p.short())
		if layer < 0 {
			t.Errorf("%s is in no layer: decide what it may know, and who may know it", p.short())
			continue
		}
		for _, imported := range p.Imports {
			if within(imported, module) && layerOf(short(imported)) >= layer {
				t.Errorf("%s imports %s, which is not below it", p.short(), short(imported))
			}
		}
	}
}

// The rules can be read, tested and trusted without any cloud: nothing of a vendor comes along, however indirectly.
func TestRulesKnowNoCloud(t *testing.T) {
	t.Parallel()
	rules := []string{
		"shared/fault", "shared/mls", "shared/retry", "shared/keypackage", "shared/rollout", "shared/claiming", "shared/delivering", "shared/expiring",
		"shared/publishing",
	}
	for _, p := range production(t) {
		if !slices.Contains(rules, p.short()) {
			continue
		}
		for _, dependency := range p.Deps {
			if within(dependency, vendors...) {
				t.Errorf("%s depends on %s", p.short(), dependency)
			}
		}
	}
}

// owners says who may import a vendor's package. Whoever wants to know how we use one has one place to look at.
var owners = []struct {
	vendor string
	by     []string
}{
	{"cloud.google.com/go/firestore", []string{"shared/store", "shared/assembly"}}, // which connects it
	{"cloud.google.com/go/pubsub", []string{"shared/topic"}},
	{"cloud.google.com/go/auth", []string{"shared/relayapi"}},
	{"google.golang.org/grpc", []string{"shared/store"}},
	{"google.golang.org/api", []string{"shared/store"}}, // the end of a query's answers
	{"google.golang.org/protobuf", []string{"functions/claim"}},
	{"github.com/googleapis/google-cloudevents-go", []string{"functions/claim"}},
	{"github.com/cloudevents", []string{"functions/claim", "shared/topic"}},
	{"github.com/GoogleCloudPlatform/functions-framework-go", []string{".", "functions"}},
}

func TestEveryVendorHasAnOwner(t *testing.T) {
	t.Parallel()
	for _, p := range production(t) {
		for _, imported := range p.Imports {
			if within(imported, vendors...) && !mayImport(p.short(), imported) {
				t.Errorf("%s imports %s, which is not its own", p.short(), imported)
			}
		}
	}
}

func mayImport(path, vendor string) bool {
	for _, owner := range owners {
		if within(vendor, owner.vendor) {
			return slices.ContainsFunc(owner.by, func(by string) bool { return path == by || by != "." && within(path, by) })
		}
	}
	return false
}

// The functions are wiring. What they decode they decode themselves or with the topic; everything else is assembled.
func TestFunctionsReachAdaptersThroughAssembly(t *testing.T) {
	t.Parallel()
	for _, p := range production(t) {
		if !within(p.short(), "functions") {
			continue
		}
		for _, imported := range p.Imports {
			decodes := p.short() == "functions/deliver" && short(imported) == "shared/topic"
			if within(short(imported), "shared/store", "shared/topic", "shared/relayapi") && !decodes {
				t.Errorf("%s imports %s", p.short(), short(imported))
			}
		}
	}
}

// The Google clients read these variables by themselves. Code that asked for them would be other code than the one that is
// tested.
func TestProductionNeverAsksForEmulators(t *testing.T) {
	t.Parallel()
	for _, p := range production(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go")) // whatever its build constraints
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, text := range texts(t, file) {
				if strings.Contains(text, "EMULATOR") {
					t.Errorf("%s has %q", file, text)
				}
			}
		}
	}
}

// texts returns the string literals of a file.
func texts(t *testing.T, file string) (texts []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	return texts
}

// The Go buildpack parses every .go file in the directory that is uploaded, tests included, and wants one package, which
// may not be main. It generates a main of its own if that package itself imports the framework's functions package; the
// functions then have to be registered by what the package imports.
func TestRootIsDeployable(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Fatalf("the root has the Go files %v, want one", files)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), files[0], nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Name.Name == "main" {
		t.Error("the root is package main")
	}
	var imports []string
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		imports = append(imports, path)
	}
	want := append(functionPackages(t), "github.com/GoogleCloudPlatform/functions-framework-go/functions")
	slices.Sort(imports)
	slices.Sort(want)
	if !slices.Equal(imports, want) {
		t.Errorf("the root imports\n%v, want\n%v", imports, want)
	}
}

// functionPackages returns one package for each directory of functions.
func functionPackages(t *testing.T) (packages []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "functions"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		packages = append(packages, module+"/functions/"+entry.Name())
	}
	return packages
}
