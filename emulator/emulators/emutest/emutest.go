// Package emutest gives a package's tests the official emulators.
//
//	func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		client, err := firestore.NewClient(t.Context(), emutest.Project(t))
//
// The emulators start with the first test that wants a project and end with the package's tests. If FIRESTORE_EMULATOR_HOST and
// PUBSUB_EMULATOR_HOST are set, those are used. Where emulators cannot be had, the test fails and names the command that installs them.
package emutest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
)

const firestoreHost, pubsubHost = "FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"

// started is this process's pair; stays nil when the environment names running ones.
var started *emulators.Emulators

// Main runs the tests and then stops what they started. It returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if started != nil {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the emulators:", err)
			return 1
		}
	}
	return code
}

// Project returns the id of a project of the test's own, and makes the Google clients of this process talk to the emulators. These
// keep projects apart, so tests may run in parallel.
func Project(t testing.TB) string {
	t.Helper()
	Emulators(t)
	return "test-" + strings.ToLower(rand.Text()[:20])
}

// Emulators returns the pair that this process started, or nil when the environment names running ones.
func Emulators(t testing.TB) *emulators.Emulators {
	t.Helper()
	if err := start(); err != nil {
		t.Fatal(err)
	}
	return started
}

var start = sync.OnceValue(func() (err error) {
	switch firestore, pubsub := os.Getenv(firestoreHost), os.Getenv(pubsubHost); {
	case firestore != "" && pubsub != "":
		return nil
	case firestore != "" || pubsub != "":
		return fmt.Errorf("set both %s and %s, or neither", firestoreHost, pubsubHost)
	}
	if started, err = emulators.Start(context.Background(), emulators.Options{}); err != nil {
		return err
	}
	return errors.Join(os.Setenv(firestoreHost, started.Firestore.Addr()), os.Setenv(pubsubHost, started.PubSub.Addr()))
})
