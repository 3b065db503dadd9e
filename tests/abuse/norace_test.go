//go:build !race

package abuse

const shadow = 1
