package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// generatedMain is what Google's Go buildpack adds to the module.
const generatedMain = `package main

import (
	"log"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"

	_ "github.com/keypackage-delivery/keypackage-delivery"
)

func main() {
	if err := funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")); err != nil {
		log.Fatal(err)
	}
}
`

// executable returns the functions as the buildpack builds them. They are built once in a run.
func (b *bench) executable(ctx context.Context) (_ string, err error) {
	if b.built != "" {
		return b.built, nil
	}
	b.progress("building the functions as the buildpack does")
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return "", err
	}
	b.built, err = build(ctx, b.dir)
	return b.built, err
}

// build needs the module's source, in or below the working directory, and the go command.
func build(ctx context.Context, dir string) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	root := strings.TrimSpace(string(module))
	source, overlay, executable := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "functions")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "main", "main.go"): source}})
	if err != nil {
		return "", err
	}
	err = errors.Join(os.WriteFile(source, []byte(generatedMain), 0o600), os.WriteFile(overlay, replace, 0o600))
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", executable, "./main")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the functions: %w: %s", err, output)
	}
	return executable, nil
}

// function is a process that serves one of the built functions.
type function struct {
	*process.Process
	addr    string // host:port
	project string
}

// serve starts a built function on the database and returns when it listens.
func (b *bench) serve(ctx context.Context, executable, entryPoint string, db *database, settings map[string]string) (*function, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	addresses := b.suite.Addresses()
	dir := filepath.Dir(executable)
	env := map[string]string{
		"PORT": strconv.Itoa(port), "FUNCTION_TARGET": entryPoint, "HOME": dir, config.Project: db.Project,
		"FIRESTORE_EMULATOR_HOST": addresses.Firestore, "PUBSUB_EMULATOR_HOST": addresses.PubSub,
		"GCE_METADATA_HOST": addresses.Metadata, config.RelayDeliveryURL: addresses.RelayDelivery,
	}
	maps.Copy(env, raisedLimits)
	maps.Copy(env, settings)
	spec := process.Spec{Name: entryPoint, Path: executable, LogFile: filepath.Join(dir, entryPoint+".log")}
	for name, value := range env {
		spec.Env = append(spec.Env, name+"="+value)
	}
	p, err := process.Start(spec)
	if err != nil {
		return nil, err
	}
	return &function{p, process.Addr(port), db.Project}, nil
}

// call posts to the function and returns its answer.
func (f *function) call(ctx context.Context, header http.Header, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.addr+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("the function answered %d: %s", response.StatusCode, answer)
	}
	return answer, err
}

// memory returns a figure of the process in MB (10^6 bytes): VmRSS is what it holds, VmHWM the most it ever held. NaN
// where there is no /proc.
func (f *function) memory(figure string) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.PID()))
	if err != nil {
		return nan
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == figure+":" {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			return kib * 1024 / 1e6
		}
	}
	return nan
}
