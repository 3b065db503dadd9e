package keypackage

import "errors"

// ErrConflict says that something a write relied on had changed since it was read. Nothing was written; read and decide
// again.
var ErrConflict = errors.New("lost a race")

// ErrUnreadable says that a document is not what its collection holds. It stays so until somebody looks at it, so nothing may
// wait for it.
var ErrUnreadable = errors.New("the document cannot be read")
