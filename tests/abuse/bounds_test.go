package abuse

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// What one 447 may cost, whatever its owners have published: the promise in shared/gateway/README.md.
const (
	boundStock  = 1000     // documents of stock
	boundReads  = 3500     // documents in all: what is looked up in the ledger and among tombstones costs three
	boundMemory = 64 << 20 // bytes above idle
)

// TestWorstRequestIsBounded asks eight owners at once. It does not run beside other tests, whose memory would count.
func TestWorstRequestIsBounded(t *testing.T) {
	for _, test := range []struct {
		name   string
		stock  func(*world, actors.Key, int) keypackage.Document
		size   int // documents of each owner
		reason string
	}{
		{"packages of another suite", (*world).otherSuite, 160, keypackage.ReasonScanLimit},
		{"rubbish of 250 KB", (*world).rubbish, 20, keypackage.ReasonScanLimit},
		{"packages that were handed out before", (*world).used, 130, keypackage.ReasonScanLimit},
		{"large packages that would do, and are for emergencies", (*world).largeLastResort, 80, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			var owners []string
			for range 8 {
				owner := actors.NewKey()
				owners = append(owners, owner.Pubkey)
				var documents []keypackage.Document
				for i := range test.size {
					documents = append(documents, test.stock(w, owner, i))
				}
				for page := range slices.Chunk(documents, 10) {
					w.PutPackages(page...)
				}
			}
			claimer, b := w.billed()
			question := actors.Question{Owners: owners, Ciphersuite: "0x0001", Min: 10}
			request := fixture.Request(t, actors.NewKey(), question)
			var result claiming.Result
			peak := peakOf(func() {
				var err error
				if result, err = claimer.Claim(t.Context(), request); err != nil {
					t.Error(err)
				}
			})
			stock, reads := b.reads[w.Collections.KeyPackages], total(b.reads)
			t.Logf("%d documents of stock, %d reads, %d writes, %.1f MB above idle", stock, reads, total(b.writes), float64(peak)/1e6)
			if stock > boundStock || reads > boundReads || peak > boundMemory*shadow || result.Reason != test.reason {
				t.Errorf("more than %d, %d and %d MB, or another answer: %+v", boundStock, boundReads, boundMemory>>20, result)
			}
		})
	}
}

// billed returns a claimer whose reads and writes are counted.
func (w *world) billed() (*claiming.Claimer, *bill) {
	w.t.Helper()
	b := new(bill)
	b.reset()
	client, err := firestore.NewClientWithDatabase(w.t.Context(), w.Project, w.Database, option.WithGRPCConn(b.connect(w.t)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = client.Close() })
	return w.newClaimer(store.New(client, w.Collections, w.Policy)), b
}

// peakOf returns how much more memory than before is in use at the worst moment, garbage included.
func peakOf(do func()) int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	idle, peak := int64(stats.HeapAlloc), int64(0)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			runtime.ReadMemStats(&stats)
			peak = max(peak, int64(stats.HeapAlloc)-idle)
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	do()
	close(done)
	<-ended
	return peak
}

// storedAs is a document without event, as today's relays write it: it is served by its id.
func (w *world) storedAs(owner actors.Key, content string, i int) keypackage.Document {
	return keypackage.Document{
		keypackage.FieldEventID: fmt.Sprintf("%s%08x", owner.Pubkey[:56], i), keypackage.FieldOwner: owner.Pubkey,
		keypackage.FieldContent: content, keypackage.FieldCreatedAt: w.now().Unix() - int64(i),
	}
}

// otherSuite has distinct bytes of suite 2, as far as anybody looks who asks for suite 1.
func (w *world) otherSuite(owner actors.Key, i int) keypackage.Document {
	encoded := slices.Clone(suite2())
	encoded[len(encoded)-1], encoded[len(encoded)-2] = byte(i), byte(i>>8)
	return w.storedAs(owner, fmt.Sprintf("%x", encoded), i)
}

var suite2 = sync.OnceValue(func() []byte {
	encoded, err := mlsgen.New(mlsgen.Options{Owner: actors.NewKey().Pubkey, Ciphersuite: mls.P256AES128})
	if err != nil {
		panic(err)
	}
	return encoded
})

func (w *world) rubbish(owner actors.Key, i int) keypackage.Document {
	return w.storedAs(owner, strings.Repeat("rubbish ", 250<<10/8), i)
}

// used is a valid package that the ledger knows, as anybody who has got it can publish it again.
func (w *world) used(owner actors.Key, i int) keypackage.Document {
	doc := w.largeLastResort(owner, i)
	delete(doc, "padding")
	hash := mls.ContentHash(owner.Pubkey, doc.Text(keypackage.FieldContent))
	w.Put(fixture.Documents{w.Collections.Ledger + "/" + hash: keypackage.Ledger{Owner: owner.Pubkey, Use: keypackage.UseOneTime}})
	return doc
}

// largeLastResort is a valid package of nearly 64 KiB, marked as last resort: only the whole stock decides about it.
func (w *world) largeLastResort(owner actors.Key, i int) keypackage.Document {
	encoded, err := mlsgen.New(mlsgen.Options{Owner: owner.Pubkey, LastResort: true})
	if err != nil {
		w.t.Fatal(err)
	}
	doc := w.storedAs(owner, fmt.Sprintf("%x", encoded), i)
	doc["padding"] = strings.Repeat("x", 60<<10)
	return doc
}
