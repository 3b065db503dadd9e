package abuse

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// opaque puts an event of Bob's into stock whose content is no KeyPackage, as clients of the first days published.
func (w *world) opaque(content string, age time.Duration, tags ...nostr.Tag) *nostr.Event {
	w.t.Helper()
	event := &nostr.Event{
		Kind: keypackage.KindKeyPackage, Content: content, Tags: tags, CreatedAt: nostr.Timestamp(w.now().Add(-age).Unix()),
	}
	if err := w.bob.Sign(event); err != nil {
		w.t.Fatal(err)
	}
	w.PutPackages(keypackage.Document{
		keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
		keypackage.FieldCiphersuite: "0x0001", keypackage.FieldCreatedAt: int64(event.CreatedAt),
		keypackage.FieldEvent: event.String(),
	})
	return event
}

// TestBadPackageDoesNotFailItsNeighbours has bad packages before, between and behind good ones. Each is flagged with its
// reason and stays; none is handed out, and none counts as remaining.
func TestBadPackageDoesNotFailItsNeighbours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := func(reason string, encoded []byte, age time.Duration) (string, string) {
		return w.publish(w.bob, actors.MIP00, encoded, age).ID, reason
	}
	good := func(age time.Duration) string {
		return w.publish(w.bob, actors.MIP00, w.make(mlsgen.Options{}), age).ID
	}
	signature := w.make(mlsgen.Options{})
	signature[len(signature)-1] ^= 1
	long := mlsgen.Options{NotBefore: w.now().Add(-time.Hour)}
	long.NotAfter = long.NotBefore.Add(mls.MaxLifetime + time.Second)
	reused := mlsgen.Options{Edit: func(kp *mls.KeyPackage) { kp.InitKey = slices.Clone(kp.LeafNode.EncryptionKey) }}

	flagged := make(map[string]string)
	note := func(id, reason string) { flagged[id] = reason }
	note(bad("package_signature", signature, 9*time.Minute))
	first := good(8 * time.Minute)
	note(bad("lifetime_length", w.make(long), 7*time.Minute))
	note(w.opaque("deadbeef", 6*time.Minute).ID, "unparsable")
	second := good(5 * time.Minute)
	note(bad("init_key_reused", w.make(reused), 4*time.Minute))

	g := w.ask(actors.NewKey(), actors.Question{Min: 10})
	if !slices.Equal(g.packages, []string{first, second}) || !g.Reserve {
		t.Errorf("got %v, reserve %v; want %s and the reserve %s", g.packages, g.Reserve, first, second)
	}
	for id, reason := range flagged {
		if got := w.flaw(id); got != reason {
			t.Errorf("flagged %q, want %q", got, reason)
		}
	}
	if got := len(w.inStock()); got != len(flagged)+1 {
		t.Errorf("%d documents stay, want the bad ones and the reserve", got)
	}
}

// TestOpaqueContent has content that is no KeyPackage with a suite tag: old clients publish it. The policy decides.
func TestOpaqueContent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy  keypackage.Policy
		granted int
		flaw    string
	}{
		{keypackage.PolicyStrict, 0, keypackage.FlawUnparsable},
		{keypackage.PolicyWarn, 2, ""},
	} {
		t.Run(string(test.policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store = store.New(w.Client, w.Collections, test.policy)
			w.claimer = w.newClaimer(w.store)
			w.opaque(strings.Repeat("ab", 40), 2*time.Minute)
			reserve := w.opaque(strings.Repeat("cd", 40), time.Minute)
			wrong := w.make(mlsgen.Options{})
			wrong[len(wrong)-1] ^= 1
			forged := w.publish(w.bob, actors.NIPEE, wrong, 3*time.Minute)

			g := w.ask(actors.NewKey(), actors.Question{Min: 3, Ciphersuite: "0x0001"})
			if g.Granted != test.granted || g.Reserve != (test.granted > 0) || slices.Contains(g.packages, forged.ID) {
				t.Errorf("got %+v, want %d packages", g.Claim, test.granted)
			}
			if got := w.flaw(reserve.ID); got != test.flaw {
				t.Errorf("opaque content is flagged %q, want %q", got, test.flaw)
			}
			if got := w.flaw(forged.ID); got != "package_signature" {
				t.Errorf("what was checked and found wrong is flagged %q", got)
			}
		})
	}
}

// TestLifetimeNotBegunIsSkipped has an oldest package that is valid from tomorrow on. Then it is used.
func TestLifetimeNotBegunIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	early := w.publish(w.bob, actors.MIP00, w.make(mlsgen.Options{NotBefore: w.now().Add(24 * time.Hour)}), 2*time.Minute)
	current := w.publish(w.bob, actors.MIP00, w.make(mlsgen.Options{}), time.Minute)

	g := w.ask(actors.NewKey(), actors.Question{Min: 2})
	if !slices.Equal(g.packages, []string{current.ID}) || !g.Reserve {
		t.Errorf("today got %v, reserve %v; want the current one, as the only one that is valid", g.packages, g.Reserve)
	}
	if !slices.Contains(w.inStock(), early.ID) || w.flaw(early.ID) != "" {
		t.Error("the early package was removed or flagged")
	}
	w.pass(25 * time.Hour)
	g = w.ask(actors.NewKey(), actors.Question{})
	if !slices.Equal(g.packages, []string{early.ID}) || g.Reserve {
		t.Errorf("tomorrow got %v, reserve %v; want the package whose time has come", g.packages, g.Reserve)
	}
}

// TestRealSuiteDecides has packages whose documents and tags claim other ciphersuites than their bytes.
func TestRealSuiteDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	event := w.publish(w.bob, actors.MIP00, w.make(mlsgen.Options{Ciphersuite: mls.P256AES128}), time.Minute)
	w.PutPackages(keypackage.Document{
		keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
		keypackage.FieldCiphersuite: "0x0001", keypackage.FieldCreatedAt: int64(event.CreatedAt), keypackage.FieldEvent: event.String(),
	})
	for suite, status := range map[string]keypackage.Status{
		"0x0001": keypackage.StatusNoMatch, "MLS_128_DHKEMX25519": keypackage.StatusNoMatch, "0x00ff": keypackage.StatusNoMatch,
		"2": keypackage.StatusFull, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256": keypackage.StatusFull,
	} {
		if g := w.ask(actors.NewKey(), actors.Question{Ciphersuite: suite}); g.Status != status {
			t.Errorf("cs %s: %s, want %s", suite, g.Status, status)
		}
	}
}
