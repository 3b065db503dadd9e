package process

import "syscall"

// dieWithParent has the kernel kill the child when this process ends in any way, a crash or SIGKILL included. It watches the thread
// that started the child, and Go ends a thread only when a goroutine locked to it returns, which nothing in the suite does. The group
// of its own keeps a Ctrl-C typed at the terminal from reaching the child: its parent stops it in order.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
