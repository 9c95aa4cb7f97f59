// Package sse streams the history of sessions to browsers and programs over Server-Sent Events: the whole history, or
// what follows a cursor, and then what happens live, in order, without a gap, a repeat or a seam.
//
// A [Hub] follows the log once per process and keeps a bounded window of the newest events of every active session.
// A connection holds only its position and pulls "the events of this session after my position": from the window, or,
// if that does not reach back far enough, from older history. Nobody who writes waits for somebody who reads.
//
// A [Handler] answers requests. It takes the connection over from the HTTP server (hijack) and writes the response
// itself, for reasons measured with Fiber v2: the server's own streaming copies every event through a pipe, keeps two
// goroutines per stream, notices a client's departure only at a later write, cuts streams at the server's write
// timeout, and holds up its shutdown; middleware that reads the response's body would wait for the end of the stream.
//
// The order of stopping: [Hub.Close] (no new streams, open ones are told and end), the HTTP server, the context of
// [Hub.Run].
package sse
