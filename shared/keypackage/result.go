package keypackage

// PushResult is what a push came to for one delivery: the relay's word, or what is known without one. It is recorded and logged.
type PushResult string

// What the relay says of one delivery. Unknown is also meant by what it leaves out, and by words that are not ours.
const (
	ResultDelivered      PushResult = "delivered"
	ResultNoSession      PushResult = "no_session"
	ResultNoSubscription PushResult = "no_subscription"
	ResultUnknownEvent   PushResult = "unknown_event"
	ResultRejected       PushResult = "rejected"
	ResultUnknown        PushResult = "unknown" // the write was begun and not finished
)

// What is known of a push to which the relay did not answer for each delivery: it has failed as a whole.
const (
	ResultNotSent    PushResult = "not_sent"   // no byte of it left this process
	ResultRefused    PushResult = "refused"    // nothing was done; it may be tried again
	ResultMisplaced  PushResult = "misplaced"  // nothing was done, and nothing will be before somebody has looked
	ResultTooLarge   PushResult = "too_large"  // nothing was done, because of its size
	ResultUnclear    PushResult = "unclear"    // it may have reached the requester; it may be tried again
	ResultUnexpected PushResult = "unexpected" // it may have reached the requester, and trying again would not help
)

// meaning is what follows from a result: for the delivery, for the message that caused the push, and for the operator.
type meaning struct {
	unseen bool // it is certain that nobody was shown the package
	parks  bool // the relay will never deliver it
	fails  bool // the relay failed, not the delivery: another push now would fail, too
	retry  bool // the message that caused the push is worth repeating
	alert  bool // somebody has to look
}

// meanings has every result but those that mean ResultUnknown: the requester may have the package, and one stuck session
// is no failure of the relay, so the message is acknowledged and the next tick comes back to it.
var meanings = map[PushResult]meaning{
	ResultDelivered:      {},
	ResultNoSession:      {unseen: true},
	ResultNoSubscription: {unseen: true},
	ResultUnknownEvent:   {unseen: true, parks: true, alert: true},
	ResultRejected:       {unseen: true, parks: true, alert: true},
	ResultNotSent:        {unseen: true, fails: true, retry: true},
	ResultRefused:        {unseen: true, fails: true, retry: true},
	ResultMisplaced:      {unseen: true, fails: true, alert: true},
	ResultTooLarge:       {unseen: true, alert: true},
	ResultUnclear:        {fails: true, retry: true},
	ResultUnexpected:     {fails: true, alert: true},
}

// Unseen and the methods below report what follows from a result.
func (r PushResult) Unseen() bool { return meanings[r].unseen }
func (r PushResult) Parks() bool  { return meanings[r].parks }
func (r PushResult) Fails() bool  { return meanings[r].fails }
func (r PushResult) Retry() bool  { return meanings[r].retry }
func (r PushResult) Alert() bool  { return meanings[r].alert }
