// Package kondate is the root of the module. It holds no code, only this map and
// the test that keeps the code true to it.
//
// Kondate takes a restaurant menu, runs each dish through eight stages at the
// same time, and sends every result to the reader's screen as soon as it exists.
// What happened to a menu is an event log in NATS JetStream. All else is derived
// from that log: rows in Postgres, streams of Server-Sent Events, exports.
//
// # Words
//
// A session is one submitted menu, and the aggregate whose events the log keeps
// together. A dish is one item of it, one row of the table menus; its id is
// called menu_id. A stage is one of the eight kinds of work done on a dish. The
// sequence of an event is its place in the log.
//
// # Packages
//
//	cmd/kondate             one binary: reads the configuration, wires the parts,
//	                        runs them, stops them in order
//	cmd/kondate/bench       measures them beside the limits of the machine
//	handlers/stage          the eight stages, on Watermill's router
//	handlers/stage/local    the provider of all eight that needs no network
//	handlers/stage/commons  the provider of search_engine that finds free pictures
//	handlers/stage/external the provider that asks another team's worker
//	handlers/stage/openai   the provider that asks an endpoint of the OpenAI API
//	handlers/image          the pictures of dishes that somebody asks for
//	handlers/httpapi        HTTP requests become commands and queries
//	handlers/openapi        what routes are, in words, for /openapi.json
//	handlers/asyncapi       what messages are, in words, for /asyncapi.json
//	handlers/sse            session streams, with replay
//	handlers/access         who may ask what: API keys, session tokens
//	handlers/console        the web page
//	projections             Postgres read models kept in step with the log
//	projections/migrations  their tables
//	projections/postgres    the private Postgres, from the installed binaries
//	eventstore              append, load, follow and replay; codec and upcasters
//	streams                 which streams, subjects and consumers exist; the
//	                        embedded NATS server; Watermill over JetStream
//	domain/menu             what may happen to a menu: events, state, decisions
//	domain/cuisine          what dishes are: knowledge, grammar, readings, laws
//
// Helpers for tests live beside what they help with, and only tests import them:
// domain/menu/menutest, streams/natstest, eventstore/storetest,
// projections/pgtest, handlers/openapi/openapitest and
// handlers/asyncapi/asyncapitest.
//
// # Arrows
//
// Imports point one way:
//
//	cmd → handlers → projections → eventstore → streams → domain
//
// An arrow may skip a layer; it never turns back. Packages of one layer do not
// import each other, handlers least of all: they fail in different ways (a
// delivery comes again, a request gets a status code, a reader reconnects) and
// meet only in the log. The exceptions are a package's own parts, such as a
// stage's providers; arch_test.go lists them. The domain is pure: no I/O, clock,
// randomness or goroutine; it is given times and ids as values.
//
// Libraries are kept in their place as well: NATS in streams, eventstore,
// handlers/stage and handlers/image, pgx in projections, Fiber in the other
// handlers, Watermill in streams, handlers/stage and handlers/image, and any of
// them in cmd. The linter's configuration holds those rules.
//
// # The path of an event
//
//  1. A client posts a menu. handlers/httpapi parses it, domain/menu decides, and
//     eventstore appends menu.submitted to the log. The answer goes out once the
//     log has acknowledged the append; by default that is after an fsync.
//  2. streams delivers the event to eight durable consumers, one per stage. Each
//     handler in handlers/stage asks its provider about every dish and appends
//     what became ready together as one <stage>.completed; what failed for the
//     moment as attempt_failed, with the time of the next attempt; what failed
//     for good as failed, which parks those dishes until somebody retries them.
//  3. The projector in projections reads the log in order. In one transaction it
//     folds a page of events with domain/menu, writes the rows, keeps the events
//     in the table history, and moves its checkpoint. When every dish of a
//     session has its eight answers, it appends menu.completed.
//  4. A request for a picture, image.requested, goes to handlers/image. It draws the
//     card from what the log says of the dish, keeps it in the object store of
//     streams, and appends image.completed.
//  5. handlers/sse follows the log with one tail per process and wakes the readers
//     of the session. A reader who comes late or comes back gets what it missed
//     from history, then goes on live, in one loop: no gap, no repeat.
//
// What the log no longer holds (archived sessions) stands in the table history,
// from which a lost log can be restored too. An erased session leaves only its
// tombstone, everywhere.
//
// An event is never changed or taken back. The first answer for a dish, stage and
// epoch counts, in the order of the log, so anything may be delivered or appended
// twice. Rows can be thrown away and built again from sequence 1.
package kondate
