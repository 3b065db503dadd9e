package keypackage

import (
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Package is one stored KeyPackage and what its bytes say. A Package with a Flaw is never handed out.
type Package struct {
	ID          string // event id and document id
	Owner       string
	Event       string // the signed event, byte for byte; "" if the relay keeps it elsewhere
	Kind        int
	Slot        string // the `d` tag of an addressable package
	Suite       mls.Ciphersuite
	LastResort  bool // last resort
	Addressable bool
	Hash        string        // mls.ContentHash, the key of its ledger entry
	CreatedAt   int64         // Unix seconds
	Lifetime    *mls.Lifetime // nil if the content is opaque
	NotAfter    time.Time     // end of the lifetime; zero if the content is opaque
	ExpiresAt   time.Time     // the earliest end that anything says
	Flaw        string        // constant reason; "" if there is none
	Document    Document
}

// Candidate is a Package in stock together with what else decides about it.
type Candidate struct {
	Package
	Use        Use
	Tombstoned bool      // the owner deleted it
	Stored     time.Time // Firestore create time
	Version    time.Time // Firestore update time
}

// Policy says what happens to packages whose content cannot be verified.
type Policy string

// The policies. Strict hands out only what parses and verifies as a KeyPackage (RFC 9420). Warn also hands out what
// cannot be checked (opaque content, signature schemes that Go does not have), never what was checked and found wrong.
const (
	PolicyStrict Policy = "strict"
	PolicyWarn   Policy = "warn"
)

// Flaws found outside the KeyPackage itself; the others are the reasons of package mls.
const (
	FlawMalformed  = "malformed_document" // no content, no creation time
	FlawTooLarge   = "too_large"
	FlawEvent      = "event_not_verified"
	FlawMismatch   = "event_mismatch" // the event is not the one that the document says
	FlawReference  = "reference_mismatch"
	FlawUnparsable = "unparsable"
)

// MaxPackageBytes bounds event and content of a package that is handed out. Real ones have about 2 KB; the bound keeps a
// transaction that hands out many of them far below Firestore's 10 MiB.
const MaxPackageBytes = 64 << 10

// fallbackExpiry is the life of a package that says nothing about its end.
const fallbackExpiry = 84 * 24 * time.Hour

// Inspect reads a stored document. It verifies the event's id and signature if the event is there, and the KeyPackage
// itself as far as the policy wants. It costs up to three signature checks, about 0.4 ms.
func Inspect(id string, doc Document, policy Policy) Package {
	p := Package{ID: id, Owner: doc.Text(FieldOwner), Event: doc.Text(FieldEvent), Kind: KindKeyPackage, Document: doc}
	content, event := doc.Text(FieldContent), (*nostr.Event)(nil)
	if p.Size() > MaxPackageBytes {
		p.flaw(FlawTooLarge)
	} else if p.Event != "" {
		event, p.Flaw = p.verifyEvent()
		if event != nil {
			content = event.Content
		}
	}
	created, ok := doc.Time(FieldCreatedAt)
	if p.CreatedAt = created.Unix(); !ok || content == "" || p.Owner == "" {
		p.flaw(FlawMalformed)
	}
	p.Hash = mls.ContentHash(p.Owner, content)
	p.readContent(content, event, policy)
	p.setExpiry(doc, created)
	return p
}

// flaw keeps the first reason.
func (p *Package) flaw(reason string) {
	if p.Flaw == "" {
		p.Flaw = reason
	}
}

func (p *Package) verifyEvent() (*nostr.Event, string) {
	event, err := VerifyEvent(p.Event)
	if err != nil {
		return event, FlawEvent
	}
	p.Kind = event.Kind
	p.Addressable = event.Kind == KindAddressableKeyPackage
	p.Slot, _ = tagValue(event, "d")
	known := event.Kind == KindKeyPackage || p.Addressable
	if event.ID != p.ID || event.PubKey != p.Owner || !known {
		return event, FlawMismatch
	}
	return event, ""
}

// readContent takes suite, marking and lifetime from the bytes. Tags are only claims: the suite tag counts when the
// content is opaque, and then only under PolicyWarn.
func (p *Package) readContent(content string, event *nostr.Event, policy Policy) {
	kp, err := parseContent(content)
	if err != nil {
		p.Suite, _ = mls.ParseCiphersuite(p.Document.Text(FieldCiphersuite))
		if policy == PolicyStrict || p.Suite == 0 {
			p.flaw(FlawUnparsable)
		}
		return
	}
	p.Suite, p.LastResort = kp.Ciphersuite, kp.LastResort()
	p.Lifetime, p.NotAfter = &kp.LeafNode.Lifetime, kp.LeafNode.Lifetime.End()
	if reason := verifyContent(kp, p.Owner, policy); reason != "" {
		p.flaw(reason)
	}
	if event != nil && !referenceMatches(event, kp) {
		p.flaw(FlawReference)
	}
}

func parseContent(content string) (*mls.KeyPackage, error) {
	inner, err := mls.DecodeContent(content)
	if err != nil {
		return nil, err
	}
	return mls.Parse(inner)
}

// verifyContent returns the reason why the KeyPackage is not handed out. Whether its lifetime has begun or ended is not
// looked at here: that depends on the time.
func verifyContent(kp *mls.KeyPackage, owner string, policy Policy) string {
	err := mls.Verify(kp, owner)
	if err == nil || (policy == PolicyWarn && errors.Is(err, mls.ErrUnverified)) {
		return ""
	}
	if reason, ok := errors.AsType[mls.Reason](err); ok {
		return string(reason)
	}
	return FlawUnparsable
}

// referenceMatches checks an `i` tag, which names the KeyPackageRef of the content.
func referenceMatches(event *nostr.Event, kp *mls.KeyPackage) bool {
	claimed, ok := tagValue(event, "i")
	if !ok {
		return true
	}
	return claimed == hex.EncodeToString(kp.Ref())
}

// setExpiry takes the earliest end that is known. A package of which nothing is known ends 84 days after its creation.
func (p *Package) setExpiry(doc Document, created time.Time) {
	var ends []time.Time
	if end, ok := doc.End(); ok {
		ends = append(ends, end)
	}
	if !p.NotAfter.IsZero() {
		ends = append(ends, p.NotAfter)
	}
	if len(ends) == 0 {
		ends = append(ends, created.Add(fallbackExpiry))
	}
	p.ExpiresAt = slices.MinFunc(ends, time.Time.Compare)
}

// Size is the length of event and content, in bytes.
func (p *Package) Size() int { return len(p.Event) + len(p.Document.Text(FieldContent)) }

// Expired reports whether the package's time is over.
func (p *Package) Expired(now time.Time) bool { return !p.ExpiresAt.After(now) }

// Begun reports whether the package's lifetime has begun.
func (p *Package) Begun(now time.Time) bool {
	return p.Lifetime == nil || !errors.Is(p.Lifetime.Current(now), mls.ErrNotBegun)
}

// Valid reports whether the candidate may be handed out, or counts as staying behind, at that time.
func (c *Candidate) Valid(now time.Time) bool {
	return c.unusable(now) == ""
}

// Removable reports whether the candidate can never be handed out again, so that its document only takes up room.
func (c *Candidate) Removable(now time.Time) bool {
	return c.Tombstoned || c.Use == UseOneTime || c.Expired(now)
}
