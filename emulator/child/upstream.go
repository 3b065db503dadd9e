package child

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/upstream"
)

// serveUpstream serves the ordinary relay behind the gateway until ctx ends. Its sessions end with the process.
func serveUpstream(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want one argument, the address to serve on")
	}
	server := &http.Server{Addr: args[0], Handler: upstream.New(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
