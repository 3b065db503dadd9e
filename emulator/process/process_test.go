package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the child: its first argument says how to behave.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if child, ok := map[string]func(){"serve": serve, "fail": fail, "stubborn": stubborn, "parent": parent}[os.Args[1]]; ok {
			child()
			return
		}
	}
	os.Exit(m.Run())
}

func serve() {
	_ = http.ListenAndServe("127.0.0.1:"+os.Args[2], http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

func fail() {
	fmt.Println("no configuration")
	os.Exit(3)
}

func stubborn() {
	signal.Ignore(syscall.SIGTERM)
	serve()
}

// parent starts a child of its own, says its pid, and waits to be killed.
func parent() {
	port, _ := strconv.Atoi(os.Args[2])
	child := Process{Name: "child", Path: os.Args[0], Args: []string{"serve", os.Args[2]}, LogFile: os.Args[3], Port: port}
	if err := child.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(child.PID())
	select {}
}

func TestStopEndsTheProcess(t *testing.T) {
	t.Parallel()
	p, addr, failed := startServing(t, "serve")
	p.Stop()
	assertGone(t, p, addr, failed)
}

func TestKillEndsAProcessThatIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	p, addr, failed := startServing(t, "stubborn")
	p.Kill()
	assertGone(t, p, addr, failed)
	p.Stop() // has nothing to wait for
}

func TestStartShowsWhyTheProcessEnded(t *testing.T) {
	t.Parallel()
	err := newProcess(t, "fail", freePort(t)).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no configuration") {
		t.Errorf("error %v, want exit status and output", err)
	}
}

func TestAProcessThatEndsByItselfIsReportedAndCanBeStartedAgain(t *testing.T) {
	t.Parallel()
	p, _, failed := startServing(t, "serve")
	first := p.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !strings.Contains(err.Error(), "serve ended by itself (signal: killed)") {
		t.Errorf("reported %v", err)
	}
	if err := p.Start(t.Context()); err != nil || p.PID() == first {
		t.Errorf("started again as %d after %d: %v", p.PID(), first, err)
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can promise this")
	}
	cmd := exec.Command(os.Args[0], "parent", strconv.Itoa(freePort(t)), filepath.Join(t.TempDir(), "log"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent said %q", line)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	eventually(t, "the child is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) })
}

func TestFreePortNamesATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, err = FreePort(port)
	if !errors.Is(err, ErrPortInUse) || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("error %v, want ErrPortInUse with the port's number", err)
	}
}

func newProcess(t *testing.T, how string, port int) *Process {
	t.Helper()
	p := &Process{
		Name: how, Path: os.Args[0], Args: []string{how, strconv.Itoa(port)}, LogFile: filepath.Join(t.TempDir(), "log"),
		Port: port, Failed: make(chan error, 1),
	}
	t.Cleanup(p.Kill)
	return p
}

func startServing(t *testing.T, how string) (p *Process, addr string, failed <-chan error) {
	t.Helper()
	p = newProcess(t, how, freePort(t))
	reports := make(chan error, 1)
	p.Ready, p.Failed = ServesHTTP, reports
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, p.Addr(), reports
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := FreePort(0)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func assertGone(t *testing.T, p *Process, addr string, failed <-chan error) {
	t.Helper()
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", p.PID(), err)
	}
	if err := Listens(t.Context(), addr); err == nil {
		t.Errorf("something still listens at %s", addr)
	}
	select {
	case err := <-failed:
		t.Errorf("a stopped process counts as failed: %v", err)
	default:
	}
}

// zombie reports a process that has ended but that nobody has waited for, as orphans in a container may stay.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
