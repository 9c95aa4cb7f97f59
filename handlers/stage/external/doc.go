// Package external lets another team's process answer a stage.
//
// A [Provider] sends a request over core NATS to the workers of a stage and takes their replies; docs/workers.md is the
// contract. A worker never writes the log: whatever it answers is held against the stage's schema first, and the engine
// records it. [Conform] tries a worker out and says what it does wrong.
package external
