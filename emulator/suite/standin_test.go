package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"
	"google.golang.org/protobuf/proto"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

// The test binary is also the program whose processes the suite starts, so that what is tested here is the suite alone.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		standIn(os.Args[2])
		return
	}
	os.Exit(emutest.Main(m))
}

// call is what a stand-in function logs about a request.
type call struct {
	Document        string `json:"document,omitempty"`
	Value           string `json:"value,omitempty"`
	Data            []byte `json:"data,omitempty"`
	DeliveryAttempt int    `json:"delivery_attempt,omitempty"`
	Topic           string `json:"topic,omitempty"` // the setting
	Error           string `json:"error,omitempty"`
}

// standIn serves a process that logs each request, as one JSON line, the way the real function decodes it.
func standIn(entryPoint string) {
	handler := func(_ http.ResponseWriter, r *http.Request) {
		c := call{Topic: os.Getenv("DELIVERY_TOPIC")}
		var err error
		switch entryPoint {
		case Claim:
			err = c.readEvent(r)
		case Deliver:
			err = c.readPush(r.Body)
		}
		if err != nil {
			c.Error = err.Error()
		}
		line, _ := json.Marshal(c)
		fmt.Println(string(line))
	}
	_ = http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(handler))
}

func (c *call) readEvent(r *http.Request) error {
	event, err := cloudevents.NewEventFromHTTPRequest(r)
	if err != nil {
		return err
	}
	var data firestoredata.DocumentEventData
	if err := proto.Unmarshal(event.Data(), &data); err != nil {
		return err
	}
	c.Document = data.GetValue().GetName()
	c.Value = data.GetValue().GetFields()["greeting"].GetStringValue()
	return nil
}

func (c *call) readPush(body io.Reader) error {
	var envelope struct {
		DeliveryAttempt int
		Message         struct{ Data []byte }
	}
	err := json.NewDecoder(body).Decode(&envelope)
	c.Data, c.DeliveryAttempt = envelope.Message.Data, envelope.DeliveryAttempt
	return err
}
