package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// OpenDocuments has the relay's documents looked at as well. Database and collections are those of the environment, as for the
// functions.
func (t *Target) OpenDocuments(ctx context.Context, project string) error {
	settings, err := config.Load(func(name string) (string, bool) {
		if name == config.Project {
			return project, true
		}
		return os.LookupEnv(name)
	})
	if err != nil {
		return err
	}
	t.Collections = settings.Collections
	t.Documents, err = firestore.NewClientWithDatabase(ctx, project, settings.Database)
	return err
}

// document returns the fields of what the relay has written.
func (p *probe) document(ctx context.Context, collection, id string) (map[string]any, error) {
	if p.Documents == nil {
		return nil, notChecked("access to Firestore is needed (-project)")
	}
	found, err := p.Documents.Collection(collection).Doc(id).Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("the document of an event that was accepted: %w", err)
	}
	return found.Data(), nil
}

func documents(ctx context.Context, p *probe) error {
	owner := actors.NewKey()
	event, err := p.publishKeyPackage(ctx, owner)
	if err != nil {
		return err
	}
	fields, err := p.document(ctx, p.Collections.KeyPackages, event.ID)
	if err != nil {
		return err
	}
	if fields[keypackage.FieldCreatedAt] != int64(event.CreatedAt) {
		return fmt.Errorf("created_at of a KeyPackage's document is no integer: %T", fields[keypackage.FieldCreatedAt])
	}
	if err := p.withdraw(ctx); err != nil {
		return err
	}
	_, err = p.document(ctx, p.Collections.Tombstones, keypackage.TombstoneID(event.ID, owner.Pubkey))
	return err
}

// openMark looks at a request's document. Once the request is answered, the mark has gone and keep_until has come.
func openMark(ctx context.Context, p *probe) error {
	request, s, err := p.asker(ctx)
	if err != nil {
		return err
	}
	if err := s.publish(ctx, request); err != nil {
		return err
	}
	fields, err := p.document(ctx, p.Collections.Requests, request.ID)
	if err != nil {
		return err
	}
	if _, over := fields[keypackage.FieldKeepUntil]; !over && !keypackage.ReadRequestDocument(request.ID, fields, time.Time{}).Marked {
		return fmt.Errorf("open is %v: a request whose trigger is lost would never be found", fields[keypackage.FieldOpen])
	}
	return nil
}
