package suite

import (
	"context"
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"

	_ "github.com/keypackage-delivery/keypackage-delivery" // registers the functions, as in the cloud
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/functions/gateway"
)

// Serve turns this program into one of the suite's processes if its arguments say so, and then does not return. A program
// that starts a suite from its own binary calls it first.
func Serve() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		name := os.Args[2]
		command.Main(name, func(ctx context.Context, _ []string) error { return serve(ctx, name, "127.0.0.1", os.Getenv("PORT")) })
	}
}

// serve serves an entry point, the way the buildpack's generated main does, or the relay behind the gateway, until ctx ends. The
// framework knows no shutdown, and neither does the cloud wait for one; only the gateway ends by itself.
func serve(ctx context.Context, name, host, port string) error {
	if name == Gateway {
		gateway.Issuer = identity.At(os.Getenv("GCE_METADATA_HOST"))
	} else {
		context.AfterFunc(ctx, func() { os.Exit(0) })
	}
	if name == Upstream {
		return http.ListenAndServe(host+":"+port, upstream.New())
	}
	if err := os.Setenv("FUNCTION_TARGET", name); err != nil {
		return err
	}
	return funcframework.StartHostPort(host, port)
}
