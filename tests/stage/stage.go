// Package stage sets Firestore up as the relay leaves it: owners' KeyPackages, requests, tombstones. Tests act on it
// through the stores of as many instances as they like, and look at what became of it.
package stage

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/iterator"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// Stage is one database that nobody else uses, with the default settings. Its methods fail the test if Firestore does.
type Stage struct {
	config.Config
	Client *firestore.Client // the relay's, and the test's
	t      testing.TB
}

// New returns an empty stage. The package's tests must run under emutest.Main.
func New(t testing.TB) *Stage {
	t.Helper()
	settings := map[string]string{config.Project: emutest.Project(t)}
	cfg, err := config.Load(func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Stage{Config: cfg, t: t}
	s.Client = s.connect()
	return s
}

// Store returns a store with a connection of its own, as every instance of a function has.
func (s *Stage) Store() *store.Store {
	s.t.Helper()
	return store.New(s.connect(), s.Collections, s.Policy)
}

func (s *Stage) connect() *firestore.Client {
	s.t.Helper()
	client, err := firestore.NewClientWithDatabase(context.Background(), s.Project, s.Database)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Documents are documents by their path.
type Documents map[string]any

// Put writes documents, whether or not they exist, in one transaction.
func (s *Stage) Put(documents Documents) {
	s.t.Helper()
	err := s.Client.RunTransaction(s.t.Context(), func(_ context.Context, tx *firestore.Transaction) error {
		for _, path := range slices.Sorted(maps.Keys(documents)) {
			if err := tx.Set(s.Client.Doc(path), documents[path]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// PutPackages puts packages into stock.
func (s *Stage) PutPackages(packages ...keypackage.Document) {
	s.t.Helper()
	documents := make(Documents, len(packages))
	for _, p := range packages {
		documents[s.Collections.KeyPackages+"/"+ID(p)] = p
	}
	s.Put(documents)
}

// Delete deletes a document.
func (s *Stage) Delete(path string) {
	s.t.Helper()
	if _, err := s.Client.Doc(path).Delete(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// Touch changes a document that exists, in a field that means nothing.
func (s *Stage) Touch(path string) {
	s.t.Helper()
	update := []firestore.Update{{Path: "touched", Value: firestore.Increment(1)}}
	if _, err := s.Client.Doc(path).Update(s.t.Context(), update); err != nil {
		s.t.Fatal(err)
	}
}

// Stored is a document as Firestore has it.
type Stored struct {
	Fields           map[string]any
	Created, Updated time.Time
}

// All returns every document of the database by its path.
func (s *Stage) All() map[string]Stored {
	s.t.Helper()
	all := make(map[string]Stored)
	collections := s.Client.Collections(s.t.Context())
	for {
		collection, err := collections.Next()
		if err == iterator.Done {
			return all
		}
		if err != nil {
			s.t.Fatal(err)
		}
		maps.Copy(all, s.collection(collection))
	}
}

// In returns every document of a collection by its id.
func (s *Stage) In(collection string) map[string]Stored {
	s.t.Helper()
	documents := make(map[string]Stored)
	for path, stored := range s.collection(s.Client.Collection(collection)) {
		documents[path[len(collection)+1:]] = stored
	}
	return documents
}

func (s *Stage) collection(ref *firestore.CollectionRef) map[string]Stored {
	s.t.Helper()
	snaps, err := ref.Documents(s.t.Context()).GetAll()
	if err != nil {
		s.t.Fatal(err)
	}
	documents := make(map[string]Stored, len(snaps))
	for _, snap := range snaps {
		documents[ref.ID+"/"+snap.Ref.ID] = Stored{snap.Data(), snap.CreateTime, snap.UpdateTime}
	}
	return documents
}
