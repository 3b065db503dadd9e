package keypackage

import "time"

// OwnerRetention is how long an owner's document is kept after its last change: longer than any package of which its levels
// speak.
const OwnerRetention = 90 * 24 * time.Hour

// Owner is what is known about one owner across requests.
type Owner struct {
	Pubkey    string `firestore:"owner_pubkey"`
	HandedOut Window `firestore:"handed_out"` // one-time packages

	Supplies map[string]Supply `firestore:"supplies"` // by ciphersuite (SuiteKey)
	Pending  bool              `firestore:"pending"`  // there are unannounced supplies
	Stocked  bool              `firestore:"stocked"`  // she had a package when one was last asked for
	// AtLeast is how many packages claims have left her, by ciphersuite, as they know without counting: what she publishes is
	// not in it, nor what she deletes and what expires. It tells when to count again, and is not told to anybody.
	AtLeast map[string]int `firestore:"at_least"`

	KeepUntil time.Time `firestore:"keep_until,omitempty"`
	Version   time.Time `firestore:"-"` // update time of the document; zero if there is none
}
