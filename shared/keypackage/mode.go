package keypackage

import "context"

// Mode says what the functions may do: the setting ROLLOUT_MODE, in the order in which an operator would dare it.
type Mode string

// The modes. In every mode deliveries expire and packages return to stock.
const (
	ModeOff     Mode = "off"     // no claims, no pushes: events are acknowledged and left alone
	ModeObserve Mode = "observe" // what would be claimed is recorded, and is final for that request
	ModeDeliver Mode = "deliver" // everything
)

// Now returns the mode itself: it is a mode that never changes, where one is asked for that may.
func (m Mode) Now(context.Context) (Mode, error) { return m, nil }
