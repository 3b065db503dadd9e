package actors

import (
	"encoding/json"
	"fmt"
)

// handle acts on one message of the relay (NIP-01, NIP-42). What is not understood, NOTICEs included, is skipped.
func (s *session) handle(frame []byte) {
	var parts []json.RawMessage
	if json.Unmarshal(frame, &parts) != nil || len(parts) < 2 {
		return
	}
	var label, subject string
	if json.Unmarshal(parts[0], &label) != nil || json.Unmarshal(parts[1], &subject) != nil {
		return
	}
	switch label {
	case "AUTH":
		select {
		case s.challenge <- subject:
		default:
		}
	case "OK":
		s.answered(subject, verdict(parts[2:]))
	case "EVENT":
		s.received(subject, parts[2:])
	case "EOSE":
		s.settled(subject, nil)
	case "CLOSED":
		s.settled(subject, refused(parts[2:]))
	}
}

// verdict reads the rest of an OK: true or false, and a reason.
func verdict(rest []json.RawMessage) error {
	var accepted bool
	if len(rest) > 0 && json.Unmarshal(rest[0], &accepted) == nil && accepted {
		return nil
	}
	return refused(rest[min(1, len(rest)):])
}

func refused(rest []json.RawMessage) error {
	var reason string
	if len(rest) > 0 {
		_ = json.Unmarshal(rest[0], &reason)
	}
	return fmt.Errorf("%w: %s", ErrRefused, reason)
}

func (s *session) answered(eventID string, answer error) {
	s.mu.Lock()
	waiting, ok := s.answers[eventID]
	delete(s.answers, eventID)
	s.mu.Unlock()
	if ok {
		waiting <- answer
	}
}

func (s *session) received(subscription string, rest []json.RawMessage) {
	s.mu.Lock()
	known, ok := s.subscriptions[subscription]
	s.mu.Unlock()
	if ok && len(rest) == 1 {
		known.event(string(rest[0]))
	}
}

func (s *session) settled(subscription string, answer error) {
	s.mu.Lock()
	known, ok := s.subscriptions[subscription]
	s.mu.Unlock()
	if !ok {
		return
	}
	select {
	case known.stored <- answer:
	default: // a CLOSED that comes after the EOSE
	}
}
