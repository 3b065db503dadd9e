package child

import (
	"context"
	"errors"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"

	_ "github.com/keypackage-delivery/keypackage-delivery" // registers the functions, as in the cloud
	"github.com/keypackage-delivery/keypackage-delivery/functions/gateway"
)

// function serves one entry point the way the buildpack's generated main does, on 127.0.0.1:$PORT, until ctx ends. The
// framework knows no shutdown, and neither does the cloud wait for one; the gateway ends by itself.
func function(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want one argument, the entry point")
	}
	if err := os.Setenv("FUNCTION_TARGET", args[0]); err != nil {
		return err
	}
	if args[0] == gateway.EntryPoint {
		issuer := "http://" + os.Getenv("GCE_METADATA_HOST") // package identity
		gateway.Issuer.Name, gateway.Issuer.KeysURL = issuer, issuer+"/certs"
	} else {
		context.AfterFunc(ctx, func() { os.Exit(0) })
	}
	return funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT"))
}
