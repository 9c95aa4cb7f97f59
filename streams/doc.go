// Package streams says which JetStream streams, subjects and consumers exist, and runs the embedded server.
//
// [EventSubject] and its neighbours are the subject grammar, [Ensure] makes the streams and consumers, [StartServer]
// runs a NATS server inside the process, [Subscriber] and [Publisher] are Watermill's pub/sub over JetStream, and
// [Channel] carries live messages that are not stored.
package streams
