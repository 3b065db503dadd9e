package bench

import "context"

func (b *bench) expiry(context.Context) error { return nil }
