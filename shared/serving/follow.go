package serving

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

const (
	// followFor is how long the instance that holds the session goes on with a request that has failed. The scheduled function
	// takes it up as well, but where that pushes nobody may be listening.
	followFor = 5 * time.Minute
	// maxFollowed bounds how many requests are gone on with at once: when the store is away, all of them fail.
	maxFollowed = 200
	// attemptTimeout bounds one attempt.
	attemptTimeout = 10 * time.Second
)

// followPauses lie between the attempts: a store that is away is not helped by more.
var followPauses = retry.Doubling(time.Second, 15*time.Second)

// follow goes on with a request in the background, until it has its outcome or is too old. Beyond the bound it is left to the
// scheduled function.
func (s *Service) follow(doc keypackage.RequestDocument) {
	select {
	case s.follows <- struct{}{}:
	default:
		return
	}
	s.begin(func() {
		defer func() { <-s.follows }()
		t := newTaking()
		t.settle(nil)
		for attempt := 1; s.now().Sub(doc.ReceivedAt) < followFor && retry.Pause(s.done, followPauses(attempt)) == nil; attempt++ {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(s.done), attemptTimeout)
			err := s.serve(ctx, doc, t)
			cancel()
			if err == nil {
				return
			}
		}
	})
}
