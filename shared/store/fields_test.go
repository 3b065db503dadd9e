package store_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// collection is what stands in the documents of a collection: field names to types.
type collection map[string]reflect.Type

// unixTime stands for a time that relays write as a number.
type unixTime struct{ time.Time }

// written are all fields of all documents, under the default names of their collections. Those of the relay are a contract;
// ours are what our types say.
func written() map[string]collection {
	text, list, number, moment := reflect.TypeFor[string](), reflect.TypeFor[[]string](), reflect.TypeFor[int](), reflect.TypeFor[time.Time]()
	seconds := reflect.TypeFor[unixTime]()
	return map[string]collection{
		"mls_keypackages": {
			"event_id": text, "owner_pubkey": text, "content": text, "ciphersuite": text, "extensions": list, "relays": list,
			"created_at": seconds, "expires_at": seconds, "event": text, "flaw": text, "slot": text,
		},
		"mls_keypackage_requests": {
			"event": text, "kind": number, "pubkey": text, "created_at": seconds, "received_at": moment, "open": number,
			"gateway": reflect.TypeFor[bool](), "keep_until": moment, "outcome": reflect.TypeFor[[]keypackage.Row](), "observed": reflect.TypeFor[[]keypackage.Row](),
		},
		"mls_keypackage_tombstones": {
			"event_id": text, "owner_pubkey": text, "deleted_at": moment, "created_at": seconds, "keep_until": moment,
		},
		"mls_pending_deliveries": fieldsOf[keypackage.Delivery](),
		"mls_keypackage_claims":  both(fieldsOf[keypackage.Claim](), fieldsOf[keypackage.Dismissal]()),
		"mls_keypackage_ledger":  fieldsOf[keypackage.Ledger](),
		"mls_keypackage_pairs":   fieldsOf[keypackage.Pair](),
		"mls_keypackage_owners":  fieldsOf[keypackage.Owner](),
	}
}

func both(a, b collection) collection {
	maps.Copy(a, b)
	return a
}

func fieldsOf[T any]() collection {
	fields := make(collection)
	for i := range reflect.TypeFor[T]().NumField() {
		field := reflect.TypeFor[T]().Field(i)
		if name, _, _ := strings.Cut(field.Tag.Get("firestore"), ","); name != "-" {
			fields[name] = field.Type
		}
	}
	return fields
}

// rises reports whether values of a type grow with time, or hold something that does.
func rises(t reflect.Type) bool {
	switch {
	case t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[unixTime]() || t == reflect.TypeFor[keypackage.Window]():
		return true
	case t == reflect.TypeFor[keypackage.Document](): // a package's document
		return true
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer:
		return rises(t.Elem())
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if rises(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// spread are the fields whose values do not rise: writes to their indexes meet nowhere. Whoever adds a field decides.
var spread = map[string][]string{
	"keys and hashes": {
		"event_id", "owner_pubkey", "pubkey", "requester_pubkey", "keypackage_owner_pubkey", "keypackage_event_id", "request_event_id",
		"ledger_id", "delivery_id", "lease_by", "slot",
	},
	"shards":    {"open", "due_shard", "check_shard"},
	"few words": {"ciphersuite", "flaw", "kind", "state", "last_result", "reason", "status", "use"},
	"yes or no": {"out_of_stock", "stocked", "last_resort", "exposure_unknown", "parked", "authentic", "gateway", "pending"},
	"counts":    {"push_no", "attempts", "requested", "granted", "at_least"},
}

func isSpread(field string) bool {
	for _, fields := range spread {
		if slices.Contains(fields, field) {
			return true
		}
	}
	return false
}

// No index has an end at which everything is written: a field that rises has none of its own, and in a composite one stands
// behind a field that does not.
func TestNoIndexRises(t *testing.T) {
	t.Parallel()
	var declared struct {
		Indexes        []index
		FieldOverrides []struct {
			Collection string `json:"collectionGroup"`
			Field      string `json:"fieldPath"`
			Indexes    []any
		}
	}
	if err := json.Unmarshal(indexesJSON, &declared); err != nil {
		t.Fatal(err)
	}
	all, exempt := written(), make(map[string]bool)
	for _, o := range declared.FieldOverrides {
		exempt[o.Collection+" "+o.Field] = len(o.Indexes) == 0
		if all[o.Collection][o.Field] == nil {
			t.Errorf("indexes.json exempts %s of %s, which nobody writes", o.Field, o.Collection)
		}
	}
	for name, fields := range all {
		for field, kind := range fields {
			switch {
			case exempt[name+" "+field]:
			case rises(kind):
				t.Errorf("%s of %s rises and is indexed", field, name)
			case !isSpread(field):
				t.Errorf("%s of %s is indexed: say in this test that it does not rise, or exempt it", field, name)
			}
		}
	}
	for _, index := range declared.Indexes {
		if first := index.Fields[0].Path; !isSpread(first) || rises(all[index.Collection][first]) {
			t.Errorf("the index %s begins with what rises", index)
		}
	}
}

// What the test above knows is all that there is: whatever claims, pushes, expiry and the outcome's copy write.
func TestEveryWrittenFieldIsKnown(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	s.must(s.store.Commit(t.Context(), s.plan))
	observed := keypackage.Dismissal{
		RequestID: "another", Outcome: keypackage.OutcomeObserved, Observed: []keypackage.Row{{RetryAt: s.now}}, KeepUntil: s.now,
	}
	s.must(s.store.Dismiss(t.Context(), observed, nil))
	s.must(s.store.NoteOutcome(t.Context(), s.fromAlice.ID, keypackage.Answer{Dismissal: &observed}))
	found := must(s.store.Deliveries(t.Context(), []keypackage.DeliveryRef{s.plan.Created[0].Ref()}))(t)
	found[0].BeginPush(s.now, "holder", keypackage.Lease)
	s.must(s.store.BeginPush(t.Context(), []*keypackage.Delivery{&found[0].Delivery}))
	found[0].Expire(false, s.now)
	s.must(s.store.Expire(t.Context(), []*keypackage.Delivery{&found[0].Delivery}))
	all := written()
	for path, document := range s.All() {
		name, _, _ := strings.Cut(path, "/")
		for field := range document.Fields {
			if all[name][field] == nil {
				t.Errorf("%s of %s is written, and no test knows whether it rises", field, name)
			}
		}
	}
}
