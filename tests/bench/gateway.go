package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// startGateway starts a second suite, whose gateway serves requests itself. Nothing is stamped on their way.
func (b *bench) startGateway(ctx context.Context) (*suite.Suite, error) {
	opts := b.suiteOptions(b.suite.Emulators())
	opts.RequestsServedBy, opts.Middleware = config.ServedByGateway, nil
	if opts.Dir != "" {
		opts.Dir = filepath.Join(opts.Dir, "gateway")
		if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	return suite.Start(ctx, opts)
}

// subscribing asks a system by REQ, as somebody new each time, because the same requester would be given the same package.
type subscribing struct{ *system }

// request implements design.
func (s subscribing) request(ctx context.Context, _ int) (journey, error) {
	r := actors.NewRequester(s.url, actors.NewKey())
	if err := r.Connect(ctx); err != nil {
		return journey{}, err
	}
	defer r.Disconnect()
	filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{s.owner()}}
	sent := time.Now()
	if err := r.Subscribe(ctx, "package", filter); err != nil {
		return journey{}, err
	}
	received, err := r.AwaitKeyPackages(ctx, 1)
	if err != nil {
		return journey{}, err
	}
	return journey{sent: sent, arrived: received[0].At}, nil
}

// untriggered is the least for a gateway that serves requests itself: a commit stores the request, a read finds the package,
// a commit claims it, and its frame leaves.
type untriggered struct{ *baseline }

// request implements design.
func (u untriggered) request(ctx context.Context, _ int) (journey, error) {
	id, sent, err := u.store(ctx, untriggeredRequests, keypackage.StateSending)
	if err == nil {
		err = u.claimLeast(ctx, id)
	}
	if err == nil {
		err = u.frames.write(ctx, u.find(id).frame)
	}
	return u.await(ctx, id, sent, err)
}
