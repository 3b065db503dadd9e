package page

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

var entryPoints = []string{suite.Gateway, suite.Claim, suite.Deliver, suite.Expire}

// function is what a function has done, by its own log, which is read as it grows.
type function struct {
	Name     string         `json:"name"`
	Outcomes map[string]int `json:"outcomes"` // how often it ended how
	Last     *line          `json:"last"`     // nil before the first
	Trouble  *line          `json:"trouble"`  // the last with an error

	logFile string
	offset  int64
}

// line is what is shown of a log line.
type line struct {
	Time      time.Time          `json:"time"`
	About     string             `json:"line"`
	Outcome   string             `json:"outcome"`
	Error     string             `json:"error"`
	Durations map[string]float64 `json:"durations_ms"`
}

// follow counts what has been added: what ended an invocation, or answered a request without one. What the framework prints is no
// line of ours. A line that is not whole yet waits for the next time.
func (f *function) follow() error {
	file, err := os.Open(f.logFile)
	if err != nil {
		return err
	}
	defer file.Close()
	const maxRead = 1 << 20 // at a time; the rest follows with the next look, and no line is nearly as long
	added, err := io.ReadAll(io.NewSectionReader(file, f.offset, maxRead))
	if err != nil {
		return err
	}
	whole := added[:bytes.LastIndexByte(added, '\n')+1]
	f.offset += int64(len(whole))
	for text := range bytes.Lines(whole) {
		var said line
		if json.Unmarshal(text, &said) != nil || said.About != logging.AboutInvocation && said.About != logging.AboutRequest {
			continue
		}
		f.Outcomes[said.Outcome]++
		f.Last = &said
		if said.Error != "" {
			f.Trouble = &said
		}
	}
	return nil
}
