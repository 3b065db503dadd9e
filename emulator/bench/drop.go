package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
)

// drop removes everything from a database, so that the emulator's memory does not fill up with what is done with.
func (db *database) drop(ctx context.Context) {
	_ = db.client.Close()
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/databases/%s/documents",
		os.Getenv("FIRESTORE_EMULATOR_HOST"), db.Project, db.Database)
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return
	}
	if response, err := http.DefaultClient.Do(request); err == nil { // it is only about memory
		_ = response.Body.Close()
	}
}
