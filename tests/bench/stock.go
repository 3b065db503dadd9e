package main

import (
	"context"
	"fmt"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// stock measures a claim while the owner's stock grows, next to the bare query for the oldest packages.
func (b *bench) stock(ctx context.Context) error {
	t := b.report.table("stock", "A claim while the owner's stock grows (one at a time)", "claim p50 ms", "claim p99 ms", "bare query p50 ms", "query p99 ms")
	var first, last [2]float64
	for i, packages := range b.sizes.stocks {
		b.progress("%d packages in stock", packages)
		claims, queries, err := b.claimsBeside(ctx, packages)
		if err != nil {
			return err
		}
		t.add(fmt.Sprintf("%d packages", packages), claims.quantile(0.5), claims.quantile(0.99), queries.quantile(0.5), queries.quantile(0.99))
		last = [2]float64{claims.quantile(0.5), queries.quantile(0.5)}
		if i == 0 {
			first = last
		}
	}
	growth, bare := last[0]/first[0], last[1]/first[1]
	t.add("growth", growth, nan, bare, nan)
	b.report.atMost("claim's growth over the bare query's, from the smallest to the largest stock", growth/bare, 1.5)
	return nil
}

// claimsBeside makes claims and bare queries in turns. Small stocks are many owners', so that all claims find that stock.
func (b *bench) claimsBeside(ctx context.Context, packages int) (claims, queries sample, err error) {
	db, err := newDatabase(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer db.drop(ctx)
	perOwner := max(1, packages/20) // claims that take no more than a twentieth of a stock
	owners, err := db.newOwners(ctx, (b.sizes.stockClaims+perOwner-1)/perOwner, packages)
	if err != nil {
		return nil, nil, err
	}
	return db.claimInTurns(ctx, owners, b.sizes.stockClaims)
}

// claimInTurns makes n claims, and the bare query before each.
func (db *database) claimInTurns(ctx context.Context, owners []string, n int) (claims, queries sample, err error) {
	requests, err := db.newRequests(ctx, n, owners)
	if err != nil {
		return nil, nil, err
	}
	claimer := db.claimer(db.store(), mute{}, time.Now)
	settle()
	for i, request := range requests {
		query, err := timed(func() error { return db.bareQuery(ctx, owners[i%len(owners)]) })
		if err != nil {
			return nil, nil, err
		}
		claim, err := timed(func() error { _, err := claimer.Claim(ctx, request); return err })
		if err != nil {
			return nil, nil, err
		}
		claims, queries = append(claims, claim), append(queries, query)
	}
	return claims, queries, nil
}

// bareQuery reads as many of the oldest packages as a claim of one does.
func (db *database) bareQuery(ctx context.Context, owner string) error {
	_, err := db.oldest(owner, 1+keypackage.RefilledStock).Documents(ctx).GetAll()
	return err
}
