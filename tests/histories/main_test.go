package histories

import (
	"flag"
	"os"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

// TestMain gives rapid defaults for plays that cost about 50 ms each. The command line may say otherwise.
func TestMain(m *testing.M) {
	defaults := map[string]string{
		"rapid.checks":     "30",   // of each of the four players
		"rapid.shrinktime": "20s",  // a failure is minimised for so long
		"rapid.nofailfile": "true", // a seed is enough: histories play out the same each time
	}
	for name, value := range defaults {
		if err := flag.Set(name, value); err != nil {
			panic(err) // a flag of rapid has changed
		}
	}
	os.Exit(emutest.Main(m))
}
