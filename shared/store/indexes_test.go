package store_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// indexesJSON declares the composite indexes that the queries need, in the format of Firestore's own tools, for the
// default names of the collections. A deployment creates these and no others. Firestore refuses a query without its
// index; the emulator answers it, but keeps a list of what it would have needed.
//
//go:embed indexes.json
var indexesJSON []byte

// index is a composite index, as indexes.json and the emulator describe it.
type index struct {
	Collection string `json:"collectionGroup"` // in indexes.json
	Name       string `json:"name"`            // from the emulator: .../collectionGroups/COLLECTION/indexes/_
	QueryScope string `json:"queryScope"`
	Fields     []struct {
		Path  string `json:"fieldPath"`
		Order string `json:"order"`
	} `json:"fields"`
}

// String names the index in one line. The document's name, which ends every index, is left out.
func (i index) String() string {
	collection := i.Collection
	if collection == "" {
		collection = strings.Split(i.Name, "/")[5]
	}
	var fields []string
	for _, f := range i.Fields {
		if f.Path != "__name__" {
			fields = append(fields, f.Path+" "+f.Order)
		}
	}
	return fmt.Sprintf("%s (%s) %s", collection, strings.Join(fields, ", "), i.QueryScope)
}

func TestQueriesUseTheDeclaredIndexesAndNoOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	askEverything(w)
	used := usedIndexes(w)
	for _, index := range declaredIndexes(t) {
		if !slices.Contains(used, index) {
			t.Errorf("no query uses the declared index %s", index)
		}
	}
}

// askEverything makes every query that there is. One that is missing here is still checked for undeclared indexes by the
// test that it has.
func askEverything(w *world) {
	w.t.Helper()
	ctx := w.t.Context()
	_, oldest := w.store.Oldest(ctx, "owner", nil, 1)
	_, _, newest := w.store.Newest(ctx, "owner", 1)
	_, answer := w.store.Answer(ctx, "request")
	_, open := w.store.OpenFor(ctx, "requester", "delivery", 1)
	_, addressable := w.store.Addressable(ctx, []string{"owner"}, 1)
	_, slot := w.store.Published(ctx, &keypackage.Package{ID: "package", Owner: "owner", Hash: "hash"}, "slot")
	for _, err := range []error{oldest, newest, answer, open, addressable, slot} {
		w.must(err)
	}
	all(w.t, w.store.Due(ctx, w.now, true))
	all(w.t, w.store.Waiting(ctx, w.now))
	all(w.t, w.store.Over(ctx, "", "80", w.now))
	all(w.t, w.store.Retirable(ctx, w.now))
	all(w.t, w.store.Marked(ctx, w.now))
	all(w.t, w.store.PendingOwners(ctx))
}

// checkIndexes fails the test if one of its queries needs an index that is not declared.
func (w *world) checkIndexes() {
	w.t.Helper()
	declared := declaredIndexes(w.t)
	for _, index := range usedIndexes(w) {
		if !slices.Contains(declared, index) {
			w.t.Errorf("a query needs the index %s, which indexes.json does not declare", index)
		}
	}
}

func declaredIndexes(t *testing.T) []string {
	t.Helper()
	var declared struct{ Indexes []index }
	if err := json.Unmarshal(indexesJSON, &declared); err != nil {
		t.Fatal(err)
	}
	return names(declared.Indexes)
}

// usedIndexes asks the emulator which composite indexes the queries of the test's project have needed.
func usedIndexes(w *world) []string {
	w.t.Helper()
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s:indexUsage?database=projects/%[2]s/databases/%s",
		os.Getenv("FIRESTORE_EMULATOR_HOST"), w.Project, w.Database)
	response, err := http.Get(url)
	w.must(err)
	defer response.Body.Close()
	var usage struct{ Reports []struct{ Index index } }
	w.must(json.NewDecoder(response.Body).Decode(&usage))
	var indexes []index
	for _, report := range usage.Reports {
		indexes = append(indexes, report.Index)
	}
	return names(indexes)
}

func names(indexes []index) []string {
	var list []string
	for _, i := range indexes {
		list = append(list, i.String())
	}
	return list
}
