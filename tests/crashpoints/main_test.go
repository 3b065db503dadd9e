package crashpoints

import (
	"os"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }
