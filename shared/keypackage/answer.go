package keypackage

// Answer says what is known about a push once it is over.
type Answer int

// The answers. AnswerUnclear is the zero value, because assuming exposure is the safe mistake.
const (
	AnswerUnclear    Answer = iota // it may have reached the requester: 408, 5xx, broken connection, timeout, unreadable 200
	AnswerResults                  // the relay answered for each delivery
	AnswerNotSent                  // no byte of it left this process
	AnswerRefused                  // 401, 403, 425, 429: nothing was done, and it may be tried again
	AnswerMisplaced                // 404, 413: nothing was done, and trying again would not help
	AnswerUnexpected               // any other status: it may have reached the requester, and trying again would not help
)

// Verdict is what follows from an answer for one delivery (Result, see Delivery.Finish) and for the message that caused
// the push.
type Verdict struct {
	Result string
	Retry  bool // the message is worth repeating
	Alert  bool // somebody has to look
}

// Judge returns the verdict for one delivery. status is the relay's answer for it, "" if there is none; it counts only
// with AnswerResults.
func Judge(answer Answer, status string) Verdict {
	switch answer {
	case AnswerResults:
		return judgeStatus(status)
	case AnswerNotSent:
		return Verdict{Result: ResultNotSent, Retry: true}
	case AnswerRefused:
		return Verdict{Result: ResultRefused, Retry: true}
	case AnswerMisplaced:
		return Verdict{Result: ResultRefused, Alert: true}
	case AnswerUnexpected:
		return Verdict{Result: ResultUnknown, Alert: true}
	}
	return Verdict{Result: ResultUnknown, Retry: true}
}

func judgeStatus(status string) Verdict {
	switch status {
	case ResultDelivered, ResultNoSession, ResultNoSubscription:
		return Verdict{Result: status}
	case ResultUnknownEvent, ResultRejected:
		return Verdict{Result: status, Alert: true}
	}
	return Verdict{Result: ResultUnknown, Retry: true}
}
