package simulation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Sizes of the population.
const (
	Owners     = 2
	Requesters = 3
	Packages   = 8 // of each owner
	Variants   = 3 // signed events with the same bytes
)

// Indexes of an owner's packages: below Rare they are plain ones of the first suite.
const (
	ShortLived  = 3 // ends seven minutes after the start
	Rare        = 4 // and the next: of another suite
	LastResort  = 6
	Addressable = 7 // its first variant is of kind 30443, the others are its twins of kind 443
)

// Population is who plays: the keys, and every KeyPackage event that is ever published. It is made once and never changes, not
// even between runs, so that a history plays out the same each time.
type Population struct {
	Owners, Requesters []actors.Key
	events             [Owners][Packages][Variants]keypackage.Package
}

var thePopulation = sync.OnceValues(func() (*Population, error) {
	c := new(Population)
	for i := range Owners {
		c.Owners = append(c.Owners, keyOf(fmt.Sprintf("owner %d", i)))
	}
	for i := range Requesters {
		c.Requesters = append(c.Requesters, keyOf(fmt.Sprintf("requester %d", i)))
	}
	random := rand.NewChaCha8(sha256.Sum256([]byte("the population's packages")))
	for owner := range Owners {
		for number := range Packages {
			if err := c.publish(random, owner, number); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
})

func keyOf(name string) actors.Key {
	secret := sha256.Sum256([]byte(name))
	key := actors.Key{Secret: hex.EncodeToString(secret[:])}
	key.Pubkey, _ = nostr.GetPublicKey(key.Secret) // every hash but two is a secret
	return key
}

func (c *Population) publish(random *rand.ChaCha8, owner, number int) error {
	options := mlsgen.Options{
		Owner: c.Owners[owner].Pubkey, Rand: random, LastResort: number == LastResort, NotBefore: Start.Add(-time.Hour),
	}
	if number == Rare || number == Rare+1 {
		options.Ciphersuite = mls.X25519ChaCha20Ed25519
	}
	encoded, err := mlsgen.New(options)
	if err != nil {
		return err
	}
	contents := [Variants]string{
		base64.StdEncoding.EncodeToString(encoded), hex.EncodeToString(encoded),
		base64.StdEncoding.EncodeToString(mlsgen.Frame(encoded)),
	}
	for variant, content := range contents {
		if c.events[owner][number][variant], err = sign(c.Owners[owner], number, variant, content); err != nil {
			return err
		}
	}
	return nil
}

func sign(owner actors.Key, number, variant int, content string) (keypackage.Package, error) {
	event := nostr.Event{Kind: keypackage.KindKeyPackage, Content: content, Tags: nostr.Tags{}}
	event.CreatedAt = nostr.Timestamp(Start.Unix() - 1000 + int64(10*number+variant))
	if number == Addressable && variant == 0 {
		event.Kind, event.Tags = keypackage.KindAddressableKeyPackage, nostr.Tags{{"d", "slot"}}
	}
	if err := owner.Sign(&event); err != nil {
		return keypackage.Package{}, err
	}
	expires := Start.Add(60 * 24 * time.Hour)
	if number == ShortLived {
		expires = Start.Add(7 * time.Minute)
	}
	document := keypackage.Document{
		keypackage.FieldEventID: event.ID, keypackage.FieldOwner: owner.Pubkey, keypackage.FieldContent: content,
		keypackage.FieldCreatedAt: int64(event.CreatedAt), keypackage.FieldExpiresAt: expires.Unix(),
		keypackage.FieldEvent: event.String(),
	}
	inspected := keypackage.Inspect(event.ID, document, keypackage.PolicyStrict)
	if inspected.Flaw != "" || !inspected.ExpiresAt.Equal(expires) || inspected.Event != event.String() {
		return inspected, fmt.Errorf("package %d, variant %d is not as it was made: %s", number, variant, inspected.Flaw)
	}
	return inspected, nil
}
