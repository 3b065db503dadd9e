// Package claim is the function ClaimKeyPackages: a Firestore trigger for documents created in the requests collection.
package claim

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"
	"google.golang.org/protobuf/proto"

	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/invocation"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// EntryPoint is the name under which the function is deployed.
const EntryPoint = "ClaimKeyPackages"

func init() { functions.HTTP(EntryPoint, invocation.Handler(EntryPoint, build)) }

func build(cfg config.Config, _ *slog.Logger) (invocation.Run, error) {
	claimer, err := assembly.Claimer(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *http.Request, line *logging.Line) (string, []byte, error) {
		doc, err := decode(r)
		if err != nil {
			return "undecodable", nil, err
		}
		result, err := claimer.Claim(ctx, doc)
		result.Describe(line)
		return result.Label(), nil, err
	}, nil
}

// Reasons of the faults that decode reports. All are permanent: the same event would fail again.
const (
	reasonBodyTooLarge = "body_too_large"
	reasonBadEvent     = "bad_event"          // not a CloudEvent, or its data is not a document
	reasonUnknownType  = "unknown_event_type" // a CloudEvent, but not a created document
)

// maxBody bounds a request body in bytes. Eventarc does not deliver Firestore events above 512 KB.
const maxBody = 1 << 20

// The types of CloudEvents that a created document makes, without and with the identity of its author.
const (
	created         = "google.cloud.firestore.document.v1.created"
	createdWithAuth = "google.cloud.firestore.document.v1.created.withAuthContext"
)

// decode reads the request document out of the CloudEvent that Eventarc sends for it (protobuf DocumentEventData).
func decode(r *http.Request) (keypackage.RequestDocument, error) {
	var none keypackage.RequestDocument
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	event, err := cloudevents.NewEventFromHTTPRequest(r)
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return none, fault.Permanent(reasonBodyTooLarge, err)
		}
		return none, fault.Permanent(reasonBadEvent, errors.New("not a CloudEvent"))
	}
	if event.Type() != created && event.Type() != createdWithAuth {
		return none, fault.Permanent(reasonUnknownType, errors.New("want "+created))
	}
	doc, err := decodeDocument(event.Data(), event.Time())
	if err != nil {
		return none, fault.Permanent(reasonBadEvent, err)
	}
	return doc, nil
}

// decodeDocument never panics, whatever the data. at is the time of the event, for a document that does not say its own.
func decodeDocument(data []byte, at time.Time) (keypackage.RequestDocument, error) {
	var event firestoredata.DocumentEventData
	if err := proto.Unmarshal(data, &event); err != nil {
		return keypackage.RequestDocument{}, errors.New("data is not DocumentEventData")
	}
	document := event.GetValue()
	id := path.Base(document.GetName())
	if document.GetName() == "" || id == "/" {
		return keypackage.RequestDocument{}, errors.New("the event has no document")
	}
	fields := make(map[string]any)
	for _, name := range []string{
		keypackage.FieldEvent, keypackage.FieldKind, keypackage.FieldReceivedAt, keypackage.FieldOpen, keypackage.FieldGateway,
	} {
		fields[name] = plain(document.GetFields()[name])
	}
	if document.GetCreateTime().IsValid() {
		at = document.GetCreateTime().AsTime()
	}
	return keypackage.ReadRequestDocument(id, fields, at), nil
}

// plain returns a value as the Firestore client would; nil for types that no field of a request has.
func plain(value *firestoredata.Value) any {
	switch v := value.GetValueType().(type) {
	case *firestoredata.Value_StringValue:
		return v.StringValue
	case *firestoredata.Value_BooleanValue:
		return v.BooleanValue
	case *firestoredata.Value_IntegerValue:
		return v.IntegerValue
	case *firestoredata.Value_TimestampValue:
		if v.TimestampValue.IsValid() { // otherwise it is no time that could be stored again
			return v.TimestampValue.AsTime()
		}
	}
	return nil
}
