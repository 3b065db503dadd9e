//go:build !linux

package process

import "syscall"

// dieWithParent leaves the child in its parent's group, so that a terminal's Ctrl-C reaches it if its parent could not stop it.
func dieWithParent() *syscall.SysProcAttr { return nil }
