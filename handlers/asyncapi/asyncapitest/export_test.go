package asyncapitest

// NewChecker reads a document and returns what is wrong with it.
func NewChecker(raw []byte) (*Checker, error) { return newChecker(raw) }
