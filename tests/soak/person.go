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

// person is somebody at the relay, with dice of her own that the seed has made.
type person struct {
	actors.Key
	dice
	relay   string
	history *history
}

func newPerson(seed uint64, role string, number int, relay string, history *history) person {
	secret := sha256.Sum256(fmt.Append(nil, "secret ", seed, role, number))
	key := actors.Key{Secret: hex.EncodeToString(secret[:])}
	key.Pubkey, _ = nostr.GetPublicKey(key.Secret) // all hashes but two are secrets
	history.secret(key.Secret)
	return person{key, newDice(seed, role, number), relay, history}
}

// dice draw decisions. They are not safe for concurrent use.
type dice struct {
	*rand.Rand
	bytes *rand.ChaCha8 // what they are drawn from
}

func newDice(seed uint64, role string, number int) dice {
	bytes := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, "dice ", seed, role, number)))
	return dice{rand.New(bytes), bytes}
}

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

// between draws a time, evenly.
func (d dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)))
}

// pause waits for about that long, as if people came by chance. It reports whether there is still time.
func (d dice) pause(ctx context.Context, mean time.Duration) bool {
	wait := time.NewTimer(min(time.Duration(d.ExpFloat64()*float64(mean)), 5*mean))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return ctx.Err() == nil
	}
}
