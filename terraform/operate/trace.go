package main

import (
	"context"
	"fmt"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/trace"
)

// traceRequest prints what became of a request.
func traceRequest(ctx context.Context, args []string) error {
	o := newOptions("trace")
	logs := o.Bool("logs", false, "print the query for Logs Explorer instead")
	word, err := o.word(args, "request", "id of the 447")
	if err != nil {
		return err
	}
	id, err := eventID(word)
	if err != nil {
		return err
	}
	documents, err := o.documents(ctx)
	if err != nil {
		return err
	}
	history, err := documents.History(ctx, id)
	if err != nil {
		return err
	}
	if *logs {
		_, err := fmt.Println(trace.Query(id, history))
		return err
	}
	t := trace.New(id, history, time.Now())
	return o.show(t, t.Print)
}
