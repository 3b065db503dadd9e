package keypackage_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// FuzzParseRequest reads any text as a stored request. A text that is a list of tags is also signed and stored, so that
// the fuzzer gets behind the signature.
func FuzzParseRequest(f *testing.F) {
	good := request(f, p(bob.pubkey), nostr.Tag{"min", "3"}, nostr.Tag{"cs", "0x0001"}, nostr.Tag{"h", "g"})
	f.Add(good.Event, int64(447), true)
	f.Add(upperCase, int64(447), true)
	f.Add(`[["p","`+bob.pubkey+`"],["min","11"],["ttl","-1"],["cs","MLS_128_DHKEMX25519"],["k","30443"]]`, int64(447), true)
	f.Add(`[["p","`+alice.pubkey+`"],["p"],[]]`, int64(0), false)
	f.Fuzz(func(t *testing.T, text string, kind int64, hasKind bool) {
		doc := keypackage.RequestDocument{ID: good.ID, Event: text, Kind: kind, HasKind: hasKind, ReceivedAt: now}
		checkRequest(t, doc)
		var tags nostr.Tags
		if json.Unmarshal([]byte(text), &tags) != nil || len(text) > 1<<14 {
			return
		}
		doc = stored(alice.sign(t, keypackage.KindRequest, "", tags...))
		switch err := checkRequest(t, doc); {
		case errors.Is(err, keypackage.RejectWrongID), errors.Is(err, keypackage.RejectBadSignature):
			t.Errorf("a signed event does not verify: %v", err)
		case errors.Is(err, keypackage.ErrOtherKind):
			t.Error("a request is ignored")
		}
	})
}

// checkRequest parses the document and checks what must be true of any answer.
func checkRequest(t *testing.T, doc keypackage.RequestDocument) error {
	t.Helper()
	req, err := keypackage.ParseRequest(doc, maxMin)
	units, isRequest := doc.Unverified()
	if rejection, ok := errors.AsType[keypackage.Rejection](err); ok {
		if rejection == "" || (rejection.Authentic() && (req == nil || req.ID != doc.ID || !keypackage.IsPubkey(req.Requester))) {
			t.Errorf("rejected as %q with the request %+v", rejection, req)
		}
		return err
	}
	if err != nil {
		if !errors.Is(err, keypackage.ErrOtherKind) || isRequest {
			t.Errorf("neither ignored nor rejected: %v", err)
		}
		return err
	}
	if req.ID != doc.ID || !keypackage.IsPubkey(req.Requester) || req.Min < 1 || req.Min > maxMin {
		t.Errorf("got %+v", req)
	}
	if ttl := req.ValidUntil.Sub(req.CreatedAt); ttl < time.Second || ttl > keypackage.MaxRequestTTL {
		t.Errorf("valid for %v", ttl)
	}
	if n := len(req.Owners); n < 1 || n > keypackage.MaxOwners || slices.Contains(req.Owners, req.Requester) ||
		len(slices.Compact(slices.Sorted(slices.Values(req.Owners)))) != n || !slices.ContainsFunc(req.Owners, keypackage.IsPubkey) {
		t.Errorf("owners %v", req.Owners)
	}
	if !isRequest || len(units) != len(req.Owners) {
		t.Errorf("%d units are known before it is verified, %d after", len(units), len(req.Owners))
	}
	return nil
}

// FuzzInspect reads any fields as a stored KeyPackage: as today's relays store it and, signed, as new ones do.
func FuzzInspect(f *testing.F) {
	good := inHex(keyPackage(f, 1, nil))
	f.Add(good, "0x0001", now.Unix(), now.Add(time.Hour).Unix(), 443, "")
	f.Add(good, "", now.Unix(), int64(0), 30443, "0")
	f.Add(inHex(mlsgen.Frame(keyPackage(f, 2, func(o *mlsgen.Options) { o.LastResort = true }))), "2", int64(-1), int64(1)<<62, 444, "")
	f.Add("opaque", "MLS_128_DHKEMX25519", int64(1)<<62, int64(-1)<<62, 443, "")
	f.Fuzz(func(t *testing.T, content, suite string, created, expires int64, kind int, tag string) {
		id, doc := unsigned(content)
		doc["ciphersuite"], doc["created_at"], doc["expires_at"] = suite, created, expires
		checkPackage(t, id, doc)
		event := bob.sign(t, kind, content, nostr.Tag{"d", tag}, nostr.Tag{"i", tag})
		id, doc = published(event)
		doc["created_at"], doc["expires_at"] = created, expires
		checkPackage(t, id, doc)
		delete(doc, "owner_pubkey")
		if got := inspect(id, doc); got.Flaw == "" {
			t.Error("a package without an owner is handed out")
		}
	})
}

// checkPackage inspects the document under both policies and checks what must be true of any answer.
func checkPackage(t *testing.T, id string, doc keypackage.Document) {
	t.Helper()
	strict, warn := inspect(id, doc), keypackage.Inspect(id, doc, keypackage.PolicyWarn)
	if strict.Flaw == "" && warn.Flaw != "" {
		t.Errorf("strict lets pass what warn calls %q", warn.Flaw)
	}
	if strict.Hash != warn.Hash || len(strict.Hash) != 64 {
		t.Errorf("the identities %q and %q", strict.Hash, warn.Hash)
	}
	for policy, got := range map[string]keypackage.Package{"strict": strict, "warn": warn} {
		if got.Flaw != "" {
			continue
		}
		if got.Suite == 0 || got.Owner != bob.pubkey || got.CreatedAt < 0 || got.ID != id {
			t.Errorf("%s: handed out as %+v", policy, got)
		}
		if field, ok := doc.End(); ok && got.ExpiresAt.After(field) {
			t.Errorf("%s: valid beyond its document, until %v", policy, got.ExpiresAt)
		}
		if got.ExpiresAt.Year() > 9999 || got.ExpiresAt.Year() < 1 {
			t.Errorf("%s: expires in %d, which can not be stored", policy, got.ExpiresAt.Year())
		}
		if got.Event != "" && got.Addressable != (got.Kind == keypackage.KindAddressableKeyPackage) {
			t.Errorf("%s: kind %d, addressable %v", policy, got.Kind, got.Addressable)
		}
	}
	if strict.Flaw == "" {
		checkStrict(t, &strict, doc)
	}
}

// checkStrict checks a package that is handed out under the strict policy once more, by other means.
func checkStrict(t *testing.T, got *keypackage.Package, doc keypackage.Document) {
	t.Helper()
	kp, err := mls.ParseContent(doc.Text("content"))
	if err != nil || mls.Verify(kp, bob.pubkey) != nil || kp.Ciphersuite != got.Suite || kp.LastResort() != got.LastResort {
		t.Errorf("handed out: %+v (%s)", got, doc.Text("content"))
	}
	if got.NotAfter.IsZero() || got.ExpiresAt.After(got.NotAfter) {
		t.Errorf("valid beyond its lifetime, until %v", got.ExpiresAt)
	}
}
