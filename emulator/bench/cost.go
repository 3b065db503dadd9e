package bench

import "context"

func (b *bench) cost(context.Context) error { return nil }
