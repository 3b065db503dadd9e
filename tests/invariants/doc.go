// Package invariants checks the promises of KeyPackage delivery on what a run has left behind: the documents in Firestore and
// what the requesters' sessions received. What only the order of the commits shows, package simulation checks under the same
// names.
//
//	I1  a package handed out as one-time is exposed to one requester only; a reserve is never handed out as one-time
//	I2  no claim, return, retirement or removal takes an owner's last valid package of a ciphersuite
//	I3  every request ends with exactly one outcome, every delivery delivered or expired, and nothing vanishes
//	I4  whatever is repeated, a unit is answered once, and acknowledged only when its answer is recorded
//	I5  a one-time package returns to stock if, and only if, every push of it was recorded as a definite negative, none was
//	    answered that the relay will never deliver it, and it is still valid and not deleted
//	I6  what arrives is the signed event, byte for byte
//	I7  only the requester's sessions see a push
//	I8  nothing is pushed after its end, and nothing by two at once
//
// run.go says what is known of a run, state.go reads what Firestore holds, and final.go checks where it all ended.
package invariants

import "fmt"

// Violation is a broken promise.
type Violation struct {
	Invariant string // I1 to I8
	What      string
}

func (v Violation) String() string { return v.Invariant + ": " + v.What }

// violations collects.
type violations []Violation

func (v *violations) add(invariant, format string, args ...any) {
	*v = append(*v, Violation{invariant, fmt.Sprintf(format, args...)})
}

// short makes an id readable.
func short(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}
