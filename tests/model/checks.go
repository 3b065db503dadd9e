package main

// A check is one exhaustive search: a model under some -D definitions.
type check struct {
	model   string // file name without .pml
	title   string
	defines []string
	breaks  string // invariant that a mutation must violate; empty for a model that must hold
}

// checks lists the models first, largest first, so that the processors stay busy.
var checks = []check{
	{"claim", "three packages", nil, ""},
	{"claim", "one of them marked last-resort", []string{"MARKED"}, ""},
	{"claim", "two with the same bytes, joining", []string{"TWINS", "REQUESTS=3", "REBROADCASTS=0"}, ""},
	{"delivery", "two workers, three pushes", nil, ""},
	{"claim", "two retirements at once", []string{"EXPIRERS=2", "REBROADCASTS=0"}, ""},
	{"claim", "three packages, joining", []string{"REQUESTS=3", "REBROADCASTS=0", "DELETIONS=0"}, ""},
	{"claim", "two with the same bytes, two re-broadcasts", []string{"TWINS", "REBROADCASTS=2"}, ""},
	{"outcome", "three instances, two units", nil, ""},
	{"req", "two connections, two 447s", nil, ""},

	{"claim", "no condition on the package that stays behind", []string{"M_NOTHING_STAYS"}, "I2"},
	{"claim", "exposed reserve without its ledger entry", []string{"M_NO_RESERVE_ENTRY"}, "I1"},
	{"claim", "ledger not looked at", []string{"M_NO_LEDGER"}, "I1"},
	{"claim", "same bytes counted as two packages", []string{"TWINS", "M_TWINS_COUNT_TWICE"}, "I1"},
	{"claim", "removal under the update time only", []string{"M_REMOVE_BLINDLY"}, "I2"},
	{"claim", "retirement without reading the other two", []string{"M_RETIRE_BLINDLY"}, "I2"},
	{"claim", "acknowledgement before the commit", []string{"M_ACK_EARLY"}, "I3"},
	{"claim", "claim record not a condition", []string{"M_NO_RECORD"}, "I4"},
	{"claim", "pair document not a condition", []string{"REQUESTS=3", "M_NO_PAIR"}, "JOIN"},
	{"claim", "tombstone not read in the transaction", []string{"M_NO_TOMBSTONE"}, "DELETED"},

	{"delivery", "return after an unresolved push", []string{"M_RETURN_UNRESOLVED"}, "I5"},
	{"delivery", "and its harm", []string{"M_RETURN_UNRESOLVED", harm}, "I1"},
	{"delivery", "push without the write before it", []string{"M_PUSH_WITHOUT_WRITE"}, "I5"},
	{"delivery", "and its harm", []string{"M_PUSH_WITHOUT_WRITE", harm}, "I1"},
	{"delivery", "late negative, push_no not compared", []string{"M_PUSH_NO_UNCHECKED"}, "I5"},
	{"delivery", "and its harm", []string{"M_PUSH_NO_UNCHECKED", harm}, "I1"},
	{"delivery", "late negative, state not compared", []string{"M_STATE_UNCHECKED"}, "I3"},
	{"delivery", "parked on another push's answer", []string{"M_PARK_ON_OTHER"}, "I5"},
	{"delivery", "lapsed lease taken over without the flag", []string{"M_LEASE_TAKEN_OVER_SILENTLY", harm}, "I1"},
	{"delivery", "negative after an unclear sending write", []string{"M_NEGATIVE_AFTER_LOST_WRITE", harm}, "I1"},
	{"delivery", "unclear write, the holder not compared", []string{"M_HOLDER_UNCOMPARED"}, "I5"},
	{"delivery", "and its harm", []string{"M_HOLDER_UNCOMPARED", harm}, "I1"},
	{"delivery", "claimed and pushed at once, but created pending", []string{"M_BORN_PENDING"}, "I5"},
	{"delivery", "and its harm", []string{"M_BORN_PENDING", harm}, "I1"},
	{"delivery", "delivered written over expired", []string{"M_DELIVERED_OVER_EXPIRED"}, "I3"},
	{"delivery", "no fence", []string{"M_NO_FENCE"}, "I3"},
	{"delivery", "tombstone not read before a push", []string{"M_TOMBSTONE_UNREAD"}, "DELETED"},
	{"delivery", "relay writes what it began too late", []string{"M_RELAY_WRITES_LATE"}, "I8"},

	{"outcome", "rejection without reading the units", []string{"M_REJECT_BLINDLY"}, "I3"},
	{"outcome", "claim without reading the rejection", []string{"M_CLAIM_BLINDLY"}, "I3"},
	{"outcome", "a stale request rejected with units recorded", []string{"M_REJECT_THE_REST"}, "I3"},

	{"req", "pair document not a condition", []string{"M_NO_PAIR"}, "AGAIN"},
	{"req", "age of the last claim not looked at", []string{"M_AGE_UNCOMPARED"}, "MINUTE"},
	{"req", "the pair's document does not note the join", []string{"M_JOIN_UNNOTED"}, "ONCE"},
	{"req", "tombstone not read when a 447 joins", []string{"M_TOMBSTONE_UNREAD"}, "DELETED"},
}

// harm switches the rule I5 off, to see that a mutation exposes a package to two requesters and does not merely break a rule.
const harm = "WITHOUT_I5=true"
