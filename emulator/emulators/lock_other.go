//go:build !linux && !darwin

package emulators

import "context"

// lock does nothing: where flock is not, two processes may download the same file. Each keeps its own copy whole.
func lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }
