package topic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
)

// Reasons of the faults that [Decode] reports.
const (
	BodyUnreadable   = "body_unreadable"    // retryable: the connection broke
	BodyTooLarge     = "body_too_large"     // permanent, like all that follow
	BadEnvelope      = "bad_envelope"       // neither a push envelope nor a CloudEvent
	UnknownEventType = "unknown_event_type" // a CloudEvent, but not a published message
	NoData           = "no_data"            // an envelope without message data
	BadMessage       = "bad_message"        // message data that is not a [Message]
)

// maxBody bounds a request body in bytes. Our messages are about 500 bytes with their envelope and the platform's attributes.
const maxBody = 64 << 10

// messagePublished is the type of the CloudEvents that Eventarc makes of Pub/Sub messages.
const messagePublished = "google.cloud.pubsub.topic.v1.messagePublished"

// envelope is the body of a push, and also the data of a messagePublished CloudEvent.
type envelope struct {
	Message struct {
		Data       []byte            `json:"data"`
		Attributes map[string]string `json:"attributes"`
	} `json:"message"`
}

// Decode reads the message from a request in any of the forms in which Pub/Sub delivers one: the body of a push
// subscription (https://cloud.google.com/pubsub/docs/push#receive_push), or a messagePublished CloudEvent in binary or
// structured mode, as Eventarc sends it. Method, path and authentication are not looked at, nor is the trace context.
//
// A request that cannot be a message, now or later, is a permanent fault with one of this package's reasons, without content.
func Decode(r *http.Request) (Message, error) {
	body, err := readBody(r)
	if err != nil {
		return Message{}, err
	}
	wrapped, err := unwrapCloudEvent(r.Header, body)
	if err != nil {
		return Message{}, err
	}
	var e envelope
	if err := json.Unmarshal(wrapped, &e); err != nil {
		return Message{}, fault.Permanent(BadEnvelope, err)
	}
	if len(e.Message.Data) == 0 {
		return Message{}, fault.Permanent(NoData, nil)
	}
	m, err := parse(e.Message.Data)
	if err != nil {
		return Message{}, fault.Permanent(BadMessage, err)
	}
	m.TraceParent = e.Message.Attributes[traceAttribute]
	return m, nil
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fault.Retryable(BodyUnreadable, err)
	}
	if len(body) > maxBody {
		return nil, fault.Permanent(BodyTooLarge, fmt.Errorf("more than %d bytes", maxBody))
	}
	return body, nil
}

// unwrapCloudEvent returns the data of a CloudEvent, or the body of a request that does not claim to be one: a plain push.
func unwrapCloudEvent(header http.Header, body []byte) ([]byte, error) {
	message := cehttp.NewMessage(header, io.NopCloser(bytes.NewReader(body)))
	if message.ReadEncoding() == binding.EncodingUnknown {
		return body, nil
	}
	event, err := binding.ToEvent(context.Background(), message)
	if err != nil {
		return nil, fault.Permanent(BadEnvelope, err)
	}
	if event.Type() != messagePublished {
		return nil, fault.Permanent(UnknownEventType, errors.New("want "+messagePublished))
	}
	return event.Data(), nil
}
