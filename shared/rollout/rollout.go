// Package rollout tells in which mode the functions work: the setting ROLLOUT_MODE, made more careful by a document that an
// operator writes. The switch takes effect without a deployment, which old revisions with open sockets would outlive.
package rollout

import (
	"context"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Mode tells the mode of the moment. It is asked for each piece of work anew, and safe for concurrent use. An error says that
// the mode is not known: then nothing may be done, and nothing be left alone for good either. A keypackage.Mode is a Mode that
// never changes.
type Mode interface {
	Now(ctx context.Context) (keypackage.Mode, error)
}

// Document is where the switch stands.
type Document interface {
	// Mode returns the word in the document, and whether there is a document at all.
	Mode(ctx context.Context) (word string, exists bool, err error)
}

const (
	readEvery   = 5 * time.Second // a change is to be seen within 10 s, also if one reading fails
	readTimeout = 2 * time.Second // work waits for it
)

// Switch is the Mode of a process: at most as daring as its setting. It reads the document when it is asked and the last
// reading is old; one that fails keeps the mode. Only before the first reading the mode is not known.
type Switch struct {
	setting  keypackage.Mode
	document Document
	now      func() time.Time

	mu    sync.Mutex
	mode  keypackage.Mode // "" before the first reading
	tried time.Time
}

// New returns a Switch. now is the clock.
func New(setting keypackage.Mode, document Document, now func() time.Time) *Switch {
	return &Switch{setting: setting, document: document, now: now}
}

// Now implements Mode. Nothing is more careful than a setting that is off, so then nothing is read.
func (s *Switch) Now(ctx context.Context) (keypackage.Mode, error) {
	if s.setting == keypackage.ModeOff {
		return keypackage.ModeOff, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode != "" && s.now().Sub(s.tried) < readEvery {
		return s.mode, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout) // others wait for the result, too
	defer cancel()
	word, exists, err := s.document.Mode(ctx)
	s.tried = s.now()
	switch {
	case err != nil && s.mode == "":
		return keypackage.ModeOff, err
	case err != nil:
	case !exists:
		s.mode = s.setting
	case word == string(keypackage.ModeObserve):
		s.mode = keypackage.ModeObserve // the setting is not off
	default:
		s.mode = keypackage.ModeOff // also for a word that is no mode: somebody wanted less
	}
	return s.mode, nil
}
