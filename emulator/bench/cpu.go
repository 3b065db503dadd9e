package bench

import "context"

func (b *bench) cpu(context.Context) error { return nil }
