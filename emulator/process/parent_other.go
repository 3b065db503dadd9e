//go:build !linux

package process

import "syscall"

// dieWithParent leaves the child in its parent's process group: without the kernel's help, the terminal's Ctrl-C is
// what reaches a child whose parent could not stop it.
func dieWithParent() *syscall.SysProcAttr { return nil }
