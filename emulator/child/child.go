// Package child is what the suite runs as processes of their own: the functions, and the relay behind the gateway. They are
// started from the program that runs the suite.
package child

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"

	_ "github.com/keypackage-delivery/keypackage-delivery" // registers the functions, as in the cloud
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/functions/gateway"
)

// Serve turns this program into one of the suite's processes if its arguments say so, and then does not return. A program
// that starts a suite from its own binary calls it first.
func Serve() {
	if len(os.Args) != 3 {
		return
	}
	serve := map[string]func(context.Context, string) error{"function": function, "upstream": ordinaryRelay}[os.Args[1]]
	if serve != nil {
		command.Main(os.Args[1], func(ctx context.Context, args []string) error { return serve(ctx, args[1]) })
	}
}

// function serves one entry point the way the buildpack's generated main does, on 127.0.0.1:$PORT, until ctx ends. The
// framework knows no shutdown, and neither does the cloud wait for one; the gateway ends by itself.
func function(ctx context.Context, entryPoint string) error {
	if err := os.Setenv("FUNCTION_TARGET", entryPoint); err != nil {
		return err
	}
	if entryPoint == gateway.EntryPoint {
		issuer := "http://" + os.Getenv("GCE_METADATA_HOST") // package identity
		gateway.Issuer.Name, gateway.Issuer.KeysURL = issuer, issuer+"/certs"
	} else {
		context.AfterFunc(ctx, func() { os.Exit(0) })
	}
	return funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT"))
}

// ordinaryRelay serves the relay behind the gateway until ctx ends. Its sessions end with the process.
func ordinaryRelay(ctx context.Context, addr string) error {
	server := &http.Server{Addr: addr, Handler: upstream.New(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
