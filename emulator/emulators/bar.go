package emulators

import (
	"fmt"
	"strings"
)

// bar counts the bytes written to it and tells how far they are, one line for each tenth: lines can be read in a terminal
// and in the log of a build alike.
type bar struct {
	total int64 // bytes; nothing is told if it is not known
	tell  func(string)

	done int64
	told int64 // tenths
}

func (b *bar) Write(p []byte) (int, error) {
	b.done += int64(len(p))
	if b.total <= 0 {
		return len(p), nil
	}
	if tenths := min(10*b.done/b.total, 10); tenths > b.told {
		b.told = tenths
		const mega = 1e6
		b.tell(fmt.Sprintf("[%-20s] %3d %%, %.1f of %.1f MB", strings.Repeat("#", 2*int(tenths)), 10*tenths,
			float64(b.done)/mega, float64(b.total)/mega))
	}
	return len(p), nil
}
