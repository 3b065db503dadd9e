package imports

import (
	"slices"
	"strings"
	"testing"
)

// allowed says what the packages of an area may import besides those of their own: whole areas, or single packages. tests
// judges everything, and nobody else knows it.
var allowed = map[string][]string{
	"deployed":  nil,
	"emulator":  {"deployed"},
	"terraform": {"deployed", "emulator/command"},
	"tests":     {"deployed", "emulator", "terraform"},
}

// areaOf names the top-level directory to which a package belongs; the root, functions and shared are one, deployed.
func areaOf(path string) string {
	if top, _, _ := strings.Cut(path, "/"); top != "." && top != "functions" && top != "shared" {
		return top
	}
	return "deployed"
}

func TestAreasKnowTheirNeighbours(t *testing.T) {
	t.Parallel()
	for _, p := range whole(t) {
		area := areaOf(p.short())
		if _, known := allowed[area]; !known {
			t.Errorf("%s is in no area: the top level is fixed", p.short())
			continue
		}
		for _, imported := range p.Imports {
			if !within(imported, module) || areaOf(short(imported)) == area {
				continue
			}
			if !slices.Contains(allowed[area], areaOf(short(imported))) && !slices.Contains(allowed[area], short(imported)) {
				t.Errorf("%s imports %s, which %s may not know", p.short(), short(imported), area)
			}
		}
	}
}

// What judges is known to nobody, not even to the tests of what it judges.
func TestNobodyKnowsTheJudges(t *testing.T) {
	t.Parallel()
	for _, p := range whole(t) {
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if areaOf(p.short()) != "tests" && within(imported, module+"/tests") {
				t.Errorf("%s or a test of it imports %s", p.short(), short(imported))
			}
		}
	}
}
