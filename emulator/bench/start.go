package bench

import "context"

func (b *bench) start(context.Context) error { return nil }
