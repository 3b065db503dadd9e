package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func TestInspectionsAreOfOneVersion(t *testing.T) {
	t.Parallel()
	i, at := new(inspections), time.Unix(1700000000, 0)
	i.keep(&keypackage.Candidate{Package: keypackage.Package{ID: "a", Suite: 1}, Version: at})
	seen := func(id string, version time.Time) keypackage.Package {
		p, _ := i.find(inspected{id, version})
		return p
	}
	if seen("a", at).Suite != 1 {
		t.Error("not remembered")
	}
	if seen("a", at.Add(time.Microsecond)).Suite != 0 || seen("b", at).Suite != 0 {
		t.Error("another version or document was taken for it")
	}
}

func TestInspectionsAreBounded(t *testing.T) {
	t.Parallel()
	i, at := new(inspections), time.Unix(1700000000, 0)
	for n := range 5 * inspectionsKept {
		i.keep(&keypackage.Candidate{Package: keypackage.Package{ID: fmt.Sprint(n)}, Version: at})
		if kept := len(i.recent) + len(i.older); kept > 2*inspectionsKept {
			t.Fatalf("%d remembered, want at most %d", kept, 2*inspectionsKept)
		}
	}
	if _, ok := i.find(inspected{fmt.Sprint(4 * inspectionsKept), at}); !ok {
		t.Error("one of the last was forgotten")
	}
}
