package bench

import (
	"context"
	"fmt"
	"net/http"
)

// drop removes everything from a database, so that the emulator's memory does not fill up with what is done with.
func (b *bench) drop(ctx context.Context, db *database) {
	_ = db.client.Close()
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/databases/%s/documents",
		b.suite.Addresses().Firestore, db.Project, db.Database)
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return
	}
	if response, err := http.DefaultClient.Do(request); err == nil { // it is only about memory
		_ = response.Body.Close()
	}
}
