package simulation

import (
	"sync"
	"time"
)

// Start is when every play begins. It lies in the future, so that what Firestore stores now is old enough by then to
// retire a reserve, and it is always the same, so that a history plays out the same each time.
var Start = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// Clock stands still until it is moved. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the time on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
