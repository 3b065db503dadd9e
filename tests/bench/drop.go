package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
)

// clear removes everything from a database.
func (db *database) clear(ctx context.Context) error {
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/databases/%s/documents",
		os.Getenv("FIRESTORE_EMULATOR_HOST"), db.Project, db.Database)
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("clear a database: %w", err)
	}
	return response.Body.Close()
}

// drop ends the use of a database, so that the emulator's memory does not fill up with what is done with.
func (db *database) drop(ctx context.Context) {
	_ = db.client.Close()
	_ = db.clear(ctx) // it is only about memory
}
