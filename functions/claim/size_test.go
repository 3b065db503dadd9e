package claim

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
)

// endless is a body that nobody should read to its end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil
}

func TestBodiesAreLimited(t *testing.T) {
	t.Parallel()
	for mode, header := range map[string]http.Header{
		"binary":     {"Ce-Specversion": {"1.0"}, "Ce-Type": {created}, "Ce-Source": {"s"}, "Ce-Id": {"i"}, "Content-Type": {"application/protobuf"}},
		"structured": {"Content-Type": {"application/cloudevents+json"}},
		"batched":    {"Content-Type": {"application/cloudevents-batch+json"}},
		"no event":   {"Content-Type": {"application/json"}},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			body := new(endless)
			r := httptest.NewRequest(http.MethodPost, "/", body)
			r.Header = header
			_, err := decode(r)
			if err == nil || fault.IsRetryable(err) {
				t.Errorf("decode = %v, want a permanent fault", err)
			}
			if knownMode := mode == "binary" || mode == "structured"; knownMode && fault.Reason(err) != reasonBodyTooLarge {
				t.Errorf("reason %q, want %q", fault.Reason(err), reasonBodyTooLarge)
			}
			if body.read > 4*maxBody {
				t.Errorf("%d bytes were read of a body that may have %d", body.read, maxBody)
			}
			if _, err := io.ReadFull(r.Body, make([]byte, maxBody+1)); err == nil {
				t.Error("the rest of the body can still be read")
			}
		})
	}
}
