package claim

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// FuzzDecode posts any body, as a structured event and as the data of a binary one.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil), "application/json", created)
	f.Add(document(f, nil), "application/protobuf", created)
	f.Add(document(f, func(d *firestoredata.Document) { d.Name, d.Fields = "/", nil }), "application/protobuf", createdWithAuth)
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"`+created+`","data_base64":"CgA="}`), "application/cloudevents+json", "")
	f.Fuzz(func(t *testing.T, body []byte, contentType, kind string) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		if kind != "" {
			r.Header.Set("Ce-Specversion", "1.0")
			r.Header.Set("Ce-Id", "1")
			r.Header.Set("Ce-Source", "s")
			r.Header.Set("Ce-Type", kind)
		}
		doc, err := decode(r)
		if err != nil {
			if fault.IsRetryable(err) || fault.Reason(err) == fault.Internal || doc != (keypackage.RequestDocument{}) {
				t.Errorf("%+v, %v", doc, err)
			}
			return
		}
		if doc.ID == "" || strings.Contains(doc.ID, "/") || (doc.Kind != 0 && !doc.HasKind) {
			t.Errorf("decoded %+v", doc)
		}
		if year := doc.ReceivedAt.Year(); year < 1 || year > 9999 {
			t.Errorf("received in %d, which can not be stored", year)
		}
	})
}
