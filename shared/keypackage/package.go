package keypackage

import (
	"encoding/hex"
	"errors"
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
	LastResort  bool          // marked as last resort by its owner
	Addressable bool          // kind 30443
	Hash        string        // mls.ContentHash, the key of its ledger entry; "" if the document is too large
	CreatedAt   int64         // Unix seconds
	Misdated    bool          // the document holds created_at as anything but an integer
	Lifetime    *mls.Lifetime // nil if the content is opaque
	NotAfter    time.Time     // end of the lifetime; zero if the content is opaque
	ExpiresAt   time.Time     // the earliest end that anything says
	Flaw        string        // constant reason; "" if there is none, as far as is known
	Verified    bool          // Flaw is the last word
	Size        int           // of the document, in bytes
	Document    Document
}

// Candidate is a Package in stock together with what else decides about it.
type Candidate struct {
	Package
	Use        Use
	Tombstoned bool      // the owner deleted it
	LookedUp   bool      // Use and Tombstoned are what the ledger and the tombstones say, not only what is hoped
	Stored     time.Time // Firestore create time
	Version    time.Time // Firestore update time
}

// Policy says what happens to packages whose content cannot be verified.
type Policy string

// The policies. Strict hands out only what parses and verifies as a KeyPackage (RFC 9420). Warn also hands out what cannot be
// checked (opaque content, unknown ciphersuites, signature schemes that Go does not have), never what is wrong or broken.
const (
	PolicyStrict Policy = "strict"
	PolicyWarn   Policy = "warn"
)

// Flaws found outside the KeyPackage itself; the others are the reasons of package mls.
const (
	FlawMalformed  = "malformed_document" // no content, no creation time, an owner that is no key, an id of no use
	FlawTooLarge   = "too_large"
	FlawEvent      = "event_not_verified"
	FlawMismatch   = "event_mismatch" // the event is not the one that the document says
	FlawReference  = "reference_mismatch"
	FlawUnparsable = "unparsable"
)

// MaxPackageBytes bounds the document of a package that is handed out. Real ones have 3 to 30 KB (a post-quantum key, in event
// and content). A delivery carries a copy: it has to stay far below Firestore's 1 MiB, and a transaction of many below 10 MiB.
const MaxPackageBytes = 64 << 10

// fallbackExpiry is the life of a package that says nothing about its end.
const fallbackExpiry = 84 * 24 * time.Hour

// Inspect reads and verifies a stored document.
func Inspect(id string, doc Document, policy Policy) Package {
	p := Read(id, doc, policy)
	p.Verify(policy)
	return p
}

// Read reads a stored document without verifying a signature, in 0.03 ms: enough for its place in the order of use.
func Read(id string, doc Document, policy Policy) Package {
	p := Package{ID: id, Owner: doc.Text(FieldOwner), Event: doc.Text(FieldEvent), Kind: KindKeyPackage, Document: doc}
	if p.Size = doc.Size(); p.Size > MaxPackageBytes {
		p.flaw(FlawTooLarge)
		p.setExpiry(doc, p.setCreated(doc))
		return p
	}
	content, event := doc.Text(FieldContent), p.readEvent()
	if event != nil {
		content = event.Content
	}
	created := p.setCreated(doc)
	if created.IsZero() || content == "" || !IsPubkey(p.Owner) || !IsName(id) {
		p.flaw(FlawMalformed)
	}
	p.Hash = mls.ContentHash(p.Owner, content)
	p.readContent(content, event, policy)
	p.setExpiry(doc, created)
	return p
}

// Verify checks the signatures of a package that Read has returned: the event's, if it is there, and those of the
// KeyPackage as far as the policy wants. It costs 0.7 ms; what was verified before costs nothing.
func (p *Package) Verify(policy Policy) {
	known := p.Verified || p.Flaw != ""
	if p.Verified = true; known {
		return
	}
	content := p.Document.Text(FieldContent)
	if p.Event != "" {
		event, err := VerifyEvent(p.Event)
		if err != nil {
			p.Flaw, p.Addressable = FlawEvent, false
			return
		}
		content = event.Content
	}
	if kp, err := mls.ParseContent(content); err == nil {
		p.Flaw = verifyContent(kp, p.Owner, policy)
	}
}

// Forget drops the bytes of a package that will not be handed out, but for its place in the stock and its flaw.
func (p *Package) Forget() {
	doc := p.Document
	p.Event, p.Document = "", Document{}
	for _, field := range []string{FieldCreatedAt, FieldFlaw} {
		if value, ok := doc[field]; ok {
			p.Document[field] = value
		}
	}
}

// flaw keeps the first reason.
func (p *Package) flaw(reason string) {
	if p.Flaw == "" {
		p.Flaw = reason
	}
}

// readEvent takes from the event what its document must agree with. It returns nil if there is none that can be read.
func (p *Package) readEvent() *nostr.Event {
	if p.Event == "" {
		return nil
	}
	event, err := ParseEvent([]byte(p.Event))
	if err != nil || !event.CheckID() {
		p.flaw(FlawEvent)
		return event
	}
	known := event.Kind == KindKeyPackage || event.Kind == KindAddressableKeyPackage
	if event.ID != p.ID || event.PubKey != p.Owner || !known {
		p.flaw(FlawMismatch)
		return event
	}
	p.Kind, p.Addressable = event.Kind, event.Kind == KindAddressableKeyPackage
	p.Slot = tagValue(event, "d")
	return event
}

// readContent takes suite, marking and lifetime from the bytes. The suite tag counts only for opaque content, under PolicyWarn.
func (p *Package) readContent(content string, event *nostr.Event, policy Policy) {
	kp, err := mls.ParseContent(content)
	if err != nil {
		p.Suite, _ = mls.ParseCiphersuite(p.Document.Text(FieldCiphersuite))
		if policy == PolicyStrict || p.Suite == 0 || !mls.Opaque(content) {
			p.flaw(FlawUnparsable)
		}
		return
	}
	p.Suite, p.LastResort = kp.Ciphersuite, kp.LastResort()
	p.Lifetime, p.NotAfter = &kp.LeafNode.Lifetime, kp.LeafNode.Lifetime.End()
	if event == nil {
		return
	}
	if i := event.Tags.Find("i"); i != nil && i[1] != hex.EncodeToString(kp.Ref()) {
		p.flaw(FlawReference)
	}
}

// verifyContent returns why the KeyPackage is not handed out at any time, or "". Lifetimes are looked at elsewhere.
func verifyContent(kp *mls.KeyPackage, owner string, policy Policy) string {
	err := mls.Verify(kp, owner)
	unchecked := errors.Is(err, mls.ErrUnverified) || errors.Is(err, mls.ErrCiphersuite)
	if err == nil || (policy == PolicyWarn && unchecked) {
		return ""
	}
	if reason, ok := errors.AsType[mls.Reason](err); ok {
		return string(reason)
	}
	return FlawUnparsable
}

// setCreated takes created_at, and returns it as a time; zero if there is none.
func (p *Package) setCreated(doc Document) time.Time {
	created, integer := doc.Created()
	p.Misdated = !integer
	if !created.IsZero() {
		p.CreatedAt = created.Unix()
	}
	return created
}

// setExpiry takes the earliest end that is known. A package of which nothing is known ends 84 days after its creation.
func (p *Package) setExpiry(doc Document, created time.Time) {
	p.ExpiresAt = p.NotAfter
	if end, ok := doc.End(); ok && (p.ExpiresAt.IsZero() || end.Before(p.ExpiresAt)) {
		p.ExpiresAt = end
	}
	if p.ExpiresAt.IsZero() {
		p.ExpiresAt = created.Add(fallbackExpiry)
	}
}

// Expired reports whether the package's time is over.
func (p *Package) Expired(now time.Time) bool { return !p.ExpiresAt.After(now) }

// Begun reports whether the package's lifetime has begun.
func (p *Package) Begun(now time.Time) bool {
	return p.Lifetime == nil || !errors.Is(p.Lifetime.Current(now), mls.ErrNotBegun)
}

// Valid reports whether the candidate may be handed out, or counts as remaining, at that time.
func (c *Candidate) Valid(now time.Time) bool { return c.unusable(now) == "" }

// Removable reports whether the candidate can never be handed out again, so that its document only takes up room.
func (c *Candidate) Removable(now time.Time) bool {
	return c.Tombstoned || c.Use == UseOneTime || c.Expired(now)
}
