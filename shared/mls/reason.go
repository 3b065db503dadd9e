package mls

// Reason is why a KeyPackage, or an event's content, was refused: an error for errors.Is and errors.As, and a constant, the label
// of a metric or the flag on a document. It contains nothing from the package.
type Reason string

// Error implements error.
func (r Reason) Error() string { return "mls: " + string(r) }

const (
	// What DecodeContent and Parse refuse.
	ErrEncoding  Reason = "encoding"  // the content is neither hex nor base64
	ErrTooLarge  Reason = "too_large" // more than MaxSize bytes
	ErrMalformed Reason = "malformed" // not the structure of a KeyPackage, or bytes left over
	ErrVersion   Reason = "version"   // the structure of a KeyPackage, but not of mls10

	// What Verify refuses.
	ErrLeafNodeSource Reason = "leaf_node_source"     // the leaf was not made for a KeyPackage
	ErrCredentialType Reason = "credential_type"      // not a BasicCredential
	ErrIdentity       Reason = "identity"             // the credential names someone else
	ErrIdentityHex    Reason = "identity_hex"         // names the owner in hex text: some old clients did, today's read another person
	ErrCapabilities   Reason = "capabilities"         // the package uses what its leaf does not list
	ErrLifetimeLength Reason = "lifetime_length"      // longer than MaxLifetime, or it ends before it begins
	ErrCiphersuite    Reason = "ciphersuite"          // a suite that RFC 9420 does not define
	ErrPublicKey      Reason = "public_key"           // a key that is not one of the suite
	ErrInitKeyReused  Reason = "init_key_reused"      // init key and encryption key are the same
	ErrLeafSignature  Reason = "leaf_signature"       // the leaf's signature is wrong
	ErrSignature      Reason = "package_signature"    // the package's signature is wrong
	ErrUnverified     Reason = "signature_unverified" // all else is right, but the suite signs with Ed448

	// What Lifetime.Current refuses.
	ErrNotBegun Reason = "lifetime_not_begun"
	ErrExpired  Reason = "lifetime_expired"
)
