package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

// visitTime bounds what a person does at a stretch: nobody waits for a broken relay for ever.
const visitTime = 20 * time.Second

// person is somebody at the relay, with a mind that the seed has made.
type person struct {
	actors.Key
	mind
	relay   string
	history *history
}

func newPerson(seed uint64, role string, number int, relay string, history *history) person {
	secret := sha256.Sum256(fmt.Append(nil, "secret ", seed, role, number))
	key := actors.Key{Secret: hex.EncodeToString(secret[:])}
	key.Pubkey, _ = nostr.GetPublicKey(key.Secret) // all hashes but two are secrets
	history.secret(key.Secret)
	return person{key, newMind(seed, role, number), relay, history}
}

// mind draws decisions. It is not safe for concurrent use.
type mind struct {
	*rand.Rand
	bytes *rand.ChaCha8 // where they come from
}

func newMind(seed uint64, role string, number int) mind {
	bytes := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, "mind ", seed, role, number)))
	return mind{rand.New(bytes), bytes}
}

func (m mind) chance(percent int) bool { return m.IntN(100) < percent }

// between draws a time, evenly.
func (m mind) between(low, high time.Duration) time.Duration {
	return low + time.Duration(m.Int64N(int64(high-low)))
}

// pause waits for about that long, as if people came by chance. It reports whether there is still time.
func (m mind) pause(ctx context.Context, mean time.Duration) bool {
	wait := time.NewTimer(min(time.Duration(m.ExpFloat64()*float64(mean)), 5*mean))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return ctx.Err() == nil
	}
}
