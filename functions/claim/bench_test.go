package claim

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func BenchmarkDecodeEvent(b *testing.B) {
	text := &firestoredata.Value_StringValue{StringValue: string(bytes.Repeat([]byte("x"), 500))}
	data, err := proto.Marshal(&firestoredata.DocumentEventData{Value: &firestoredata.Document{
		Name:       "projects/p/databases/(default)/documents/requests/id",
		Fields:     map[string]*firestoredata.Value{keypackage.FieldEvent: {ValueType: text}},
		CreateTime: timestamppb.New(time.Unix(1700000000, 0)),
	}})
	if err != nil {
		b.Fatal(err)
	}
	header := http.Header{
		"Content-Type": {"application/protobuf"}, "Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Type": {created}, "Ce-Source": {"//test"},
	}
	b.ReportAllocs()
	for b.Loop() {
		request, err := http.NewRequest(http.MethodPost, "/", bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		request.Header = header
		if _, err := decode(request); err != nil {
			b.Fatal(err)
		}
	}
}
