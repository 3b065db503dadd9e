package keypackage

import "errors"

// ErrConflict says that something a write relied on had changed since it was read. Nothing was written; read and decide
// again.
var ErrConflict = errors.New("lost a race")
