// Package system tests the whole system as a relay, its clients and the platform see it: the official emulators, the three
// functions and the gateway, before an ordinary relay, as processes, real KeyPackages, real websockets.
//
// The functions do all the work here, and the gateway stores and delivers as any relay would, unless a test says otherwise
// (gateway_test.go).
//
// world_test.go is what tests stand on, traffic_test.go sees and disturbs what reaches the functions, people_test.go and
// documents_test.go are the two sides that a test looks at. The rest are tests.
package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"

	// What is tested runs in other processes. Only what the tests import makes `go test` run them again.
	_ "github.com/keypackage-delivery/keypackage-delivery"
)

// What all tests share, besides the everyday system: the program that the suites run, the one that operates, and a pair of
// emulators, which keep the suites' projects apart.
var (
	program, operate string
	pair             *emulators.Emulators
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "system-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, operate = filepath.Join(dir, "emulator"), filepath.Join(dir, "operate")
	var group errgroup.Group
	group.Go(build)
	group.Go(func() (err error) { pair, err = emulators.Start(context.Background(), emulators.Options{}); return err })
	err = group.Wait()
	if pair != nil {
		defer func() { err = errors.Join(err, pair.Stop()) }()
	}
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stopEveryday()) }()
	return m.Run(), nil
}

// build builds without -race, whatever the tests were built with: khatru, the relay behind the gateway, has races of its own.
func build() error {
	root := filepath.Join("..", "..")
	sources := []string{filepath.Join(root, "emulator"), filepath.Join(root, "terraform", "operate")}
	for _, source := range sources {
		if _, err := os.ReadDir(source); err != nil { // has `go test` remember these files, too
			return err
		}
	}
	arguments := append([]string{"build", "-o", filepath.Dir(program) + string(filepath.Separator)}, sources...)
	if output, err := exec.Command("go", arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs that the tests run: %w\n%s", err, output)
	}
	return nil
}
