package deploy

import (
	"fmt"
	"os"
	"testing"

	_ "github.com/keypackage-delivery/keypackage-delivery" // so that a change of what is built runs the tests again
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

func TestMain(m *testing.M) {
	code := emutest.Main(m)
	if err := os.RemoveAll(theImage.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
