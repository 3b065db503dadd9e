package emutest_test

import (
	"os"
	"testing"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

func TestProjectsAreKeptApart(t *testing.T) {
	t.Parallel()
	mine, other := open(t), open(t)
	if _, err := mine.Doc("c/d").Create(t.Context(), map[string]any{"a": 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Doc("c/d").Create(t.Context(), map[string]any{"a": 2}); err != nil {
		t.Fatalf("a document of one project is seen in another: %v", err)
	}
}

func open(t *testing.T) *firestore.Client {
	t.Helper()
	client, err := firestore.NewClient(t.Context(), emutest.Project(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
