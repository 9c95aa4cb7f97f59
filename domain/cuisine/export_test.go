package cuisine

// Names of internals that the tests reach: the loader for broken data, and a
// fresh load for its time.
var (
	LoadFS   = loadFS
	Embedded = embedded
)
