package outbox_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
)

// running returns an outbox whose writes go to written, each after it was let through by gate (nil: at once).
func running(ctx context.Context, gate <-chan error, written *[]string) *outbox.Outbox {
	o := outbox.New()
	go o.Run(ctx, func(ctx context.Context, frame []byte) error {
		if gate != nil {
			select {
			case err := <-gate:
				if err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		*written = append(*written, string(frame))
		return nil
	}, func(error) {})
	return o
}

func delivery(frame string) *outbox.Delivery {
	return outbox.NewDelivery(func() ([]byte, outbox.Status) { return []byte(frame), outbox.Delivered }, func() {})
}

func TestEverythingLeavesInItsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var written []string
		gate := make(chan error)
		o := running(t.Context(), gate, &written)
		want := []string{"a", "b", "C", "d", "E", "F", "g"}
		for _, frame := range want {
			if strings.ToLower(frame) != frame {
				o.Offer(delivery(frame))
			} else if err := o.Put(t.Context(), []byte(frame)); err != nil {
				t.Fatal(err)
			}
		}
		for range want {
			gate <- nil
		}
		o.Flush(t.Context())
		synctest.Wait()
		if !slices.Equal(written, want) {
			t.Errorf("written %v, want %v", written, want)
		}
	})
}

// A client that does not read is not waited for: who puts frames waits, who delivers does not.
func TestAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var written []string
		o := running(t.Context(), make(chan error), &written)
		large := make([]byte, outbox.Bytes)
		if err := o.Put(t.Context(), large); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is being written
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.Put(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("there was room: %v", err)
		}
		var all []*outbox.Delivery
		for range 100 {
			d := delivery("d")
			o.Offer(d)
			all = append(all, d)
		}
		dropped := slices.IndexFunc(all, (*outbox.Delivery).InVain)
		if dropped < 32 || dropped > 50 {
			t.Errorf("there is room for %d deliveries", dropped)
		}
		if got := all[0].Wait(ctx); got != outbox.NoSession || all[dropped].Wait(ctx) != outbox.NoSession {
			t.Errorf("what has not begun is %s", got)
		}
		time.Sleep(outbox.Patience) // of the bubble's clock
		synctest.Wait()
		if err := o.Put(t.Context(), large); err != nil || len(written) > 0 { // discarded
			t.Errorf("%v, written %v", err, written)
		}
		o.Flush(t.Context())
	})
}

func TestWhatBecomesOfADelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var written []string
		gate := make(chan error)
		ctx, stop := context.WithCancel(t.Context())
		o := running(ctx, gate, &written)
		over, end := context.WithCancel(t.Context())
		end()
		sent := 0
		first := outbox.NewDelivery(func() ([]byte, outbox.Status) { return []byte("1"), "" }, func() { sent++ })
		none := outbox.NewDelivery(func() ([]byte, outbox.Status) { return nil, outbox.NoSubscription }, func() { sent++ })
		broken, behind := delivery("2"), delivery("3")
		for _, d := range []*outbox.Delivery{first, none, broken, behind} {
			o.Offer(d)
		}
		synctest.Wait()
		if got := first.Wait(over); got != outbox.Unknown {
			t.Errorf("while it is written: %s", got)
		}
		gate <- nil
		synctest.Wait()
		if got := first.Wait(over); got != outbox.Delivered || sent != 1 || first.InVain() {
			t.Errorf("written: %s, told %d times", got, sent)
		}
		if got := none.Wait(t.Context()); got != outbox.NoSubscription || !none.InVain() {
			t.Errorf("without a frame: %s", got)
		}
		gate <- errors.New("broken")
		if got := broken.Wait(t.Context()); got != outbox.Unknown {
			t.Errorf("broken off: %s", got)
		}
		if got := behind.Wait(t.Context()); got != outbox.NoSession {
			t.Errorf("behind it: %s", got)
		}
		stop()
		synctest.Wait()
		late := delivery("4")
		o.Offer(late)
		if got := late.Wait(t.Context()); got != outbox.NoSession || len(written) != 1 {
			t.Errorf("after the end: %s", got)
		}
	})
}

// Nobody waits for what the end has caught in the queue.
func TestFlushEndsWithTheOutbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var written []string
		o := running(ctx, make(chan error), &written)
		for range 3 {
			if err := o.Put(t.Context(), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		o.Flush(t.Context())
	})
}
