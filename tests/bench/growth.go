package main

import (
	"context"
	"errors"
	"fmt"
)

// growth counts and times requests for owners whose stock is large.
func (b *bench) growth(ctx context.Context) error {
	t := b.table("Growth over stock: claim and push, one package each, no two at a time", "reads", "claim p50 ms", "push p50 ms")
	t.note("The emulator's queries look at every document of the collection, Firestore's only at those that they return.")
	picture := b.picture("growth", "A request, by the stock of the owner", "documents read, and milliseconds")
	b.wire.set(region)
	defer b.wire.set(0)
	for i, stock := range b.sizes.stocks {
		progress("stock of %d, %d of %d", stock, i+1, len(b.sizes.stocks))
		c, err := b.newCosted(ctx)
		if err != nil {
			return err
		}
		defer c.db.drop(ctx)
		requests, err := c.requests(ctx, 8, stock, 2)
		if err != nil {
			return err
		}
		var all bill
		var claims, pushes sample
		for _, request := range requests {
			claim, err := timed(func() error { return c.claim(ctx, &all, request) })
			push, pushErr := timed(func() error { return c.push(ctx, &all) })
			if err := errors.Join(err, pushErr); err != nil {
				return err
			}
			claims, pushes = append(claims, claim), append(pushes, push)
		}
		reads, group := all.less(bill{}, len(requests), c.db.Collections).reads, fmt.Sprintf("stock of %d", stock)
		t.add(group, reads, claims.quantile(0.5), pushes.quantile(0.5))
		picture.set(group, "documents read", reads)
		picture.set(group, "claim, milliseconds", claims.quantile(0.5))
	}
	return nil
}
