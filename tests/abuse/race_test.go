//go:build race

package abuse

// shadow is by how much the race detector may multiply what is held in memory; what the bound is about is measured without.
const shadow = 2
