package simulation

import "slices"

// shorten leaves out of a history what it does not need to find a mistake. It plays some dozen histories; rapid's own way
// takes many more.
func shorten(h history, finds func(history) bool) history {
	for before := -1; before != h.size(); {
		before = h.size()
		for i := len(h.Steps) - 1; i >= 0; i-- {
			for _, instead := range h.Steps[i].simpler() {
				shorter := h
				shorter.Steps = slices.Concat(h.Steps[:i], instead, h.Steps[i+1:])
				if finds(shorter) {
					h = shorter
					break
				}
			}
		}
		for i := len(h.Stock) - 1; i >= 0; i-- {
			shorter := h
			shorter.Stock = slices.Delete(slices.Clone(h.Stock), i, i+1)
			if finds(shorter) {
				h = shorter
			}
		}
	}
	return h
}

func (h history) size() int {
	size := len(h.Stock)
	for _, s := range h.Steps {
		size += s.size()
	}
	return size
}

func (s step) size() int {
	size := 1 + len(s.Packages)
	if s.Fault != "" {
		size++
	}
	if s.Amid != nil {
		size += s.Amid.size()
	}
	return size
}

// simpler returns what may stand in the place of a step: nothing, or the step with less of what disturbs it.
func (s step) simpler() [][]step {
	instead := [][]step{nil}
	if s.Fault != "" {
		calm := s
		calm.Fault = ""
		instead = append(instead, []step{calm})
	}
	if s.Amid != nil {
		alone := s
		alone.Amid = nil
		instead = append(instead, []step{alone})
	}
	for i := range s.Packages {
		if len(s.Packages) > 1 {
			fewer := s
			fewer.Packages = slices.Delete(slices.Clone(s.Packages), i, i+1)
			instead = append(instead, []step{fewer})
		}
	}
	return instead
}
