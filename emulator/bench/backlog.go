package bench

import "context"

func (b *bench) backlog(context.Context) error { return nil }
