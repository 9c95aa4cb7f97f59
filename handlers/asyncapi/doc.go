// Package asyncapi writes the AsyncAPI 3.0 description of the messages that other programs find on NATS and on a session's
// stream: every event of the registry in every released version, live messages, and requests to workers.
//
// What the registry of events, the subjects and the golden files know is taken from there. Packages that send or take
// other messages say what these are, as [Message] values, and whoever wires them makes one document of all.
package asyncapi
