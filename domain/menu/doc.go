// Package menu is the domain: what may happen to one submitted menu, and what it is after each thing that happened.
//
// A session is one submitted menu (the aggregate); a dish is one item of it. [Event] is a closed set of facts,
// [Evolve] folds a fact into a [Session], and one function per command ([Submit], [Answer], [Park], [Retry], …)
// decides which events a request leads to, or rejects it with a [*RejectedError].
//
// The package is pure: no I/O, no clock, no randomness, no goroutine. Time and ids come in as values.
package menu
