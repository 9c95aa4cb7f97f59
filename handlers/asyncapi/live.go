package asyncapi

import (
	"fmt"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/streams"
)

// Names in the document.
const (
	channelLive   = "live"
	channelStream = "stream"
	channelReply  = "work.reply"
)

// live describes the channel of a session's live messages: what we say there, and what others may.
func (w *writer) live() {
	w.parameters["name"] = object{
		"description": "The name of the event on the session's stream. The names of stored events and of the stream's own events are refused.",
		"examples":    []string{"progress"},
	}
	var ours []string
	for _, m := range w.cfg.Live {
		name := channelLive + "." + m.Name
		w.message(name, m)
		ours = append(ours, name)
	}
	const others = channelLive + ".message"
	w.schemas[others] = object{"type": "object", "description": "Any JSON object. A body that is none becomes {\"raw_message\": \"…\"} on the stream."}
	w.messages[others] = object{
		"name": "message", "title": "message", "summary": "Whatever a program tells the readers of a session.", "contentType": mediaJSON,
		"payload": ref("components/schemas", others),
	}
	w.channel(channelLive, streams.ChannelFilter(w.cfg.ChannelPrefix), serverNATS,
		"Live messages of a session: core NATS, not stored. Who does not listen misses them.", append(ours, others), "tenant", "session", "name")
	w.operation("tell", "send", channelLive, "Says how far the session is.", ours)
	w.operation("relay", "receive", channelLive, "Takes what others say to the session's readers, and passes it on to their streams.", []string{others})
}

// work describes the requests to workers of other teams: a channel for each stage, and their replies.
func (w *writer) work() {
	const request, reply = "work.request", channelReply
	w.message(request, w.cfg.Work.Request)
	w.message(reply, w.cfg.Work.Reply)
	w.channel(channelReply, nil, serverNATS, "The reply subject of a request, an inbox of its own.", []string{reply})
	for _, stage := range menu.Stages() {
		channel := "work." + stage.String()
		w.channel(channel, streams.WorkFilter(stage), serverNATS,
			fmt.Sprintf("Requests to the workers of the stage %s, where its provider is external: core NATS, not stored.", stage), []string{request}, "tenant")
		o := w.operation(channel, "send", channel, fmt.Sprintf("Asks a worker of the stage %s. Workers are a queue group: each request goes to one of them.", stage), []string{request})
		o["bindings"] = object{"nats": object{"queue": streams.WorkQueue(stage), "bindingVersion": "0.1.0"}}
		o["reply"] = object{"channel": ref("channels", channelReply), "messages": []object{ref("channels/"+channelReply+"/messages", reply)}}
	}
}

// stream describes a session's stream. The frames are text; what stands here is their data.
func (w *writer) stream() {
	w.parameters["id"] = object{"description": "The session."}
	const stored = channelStream + ".event"
	w.message(stored, MessageOf[eventstore.Object]("<lane>.<event>",
		"An event of the log. `event` is its type, `id` a cursor to come back with; `data.data` is the body in the newest version."))
	names := []string{stored}
	for _, m := range append(w.cfg.Stream.Messages, w.cfg.Live...) {
		name := channelStream + "." + m.Name
		w.message(name, m)
		names = append(names, name)
	}
	w.channel(channelStream, w.cfg.Stream.Path, serverHTTP,
		"A session's events as Server-Sent Events: the payloads here are the data of the frames, the names their event.", names, "id")
	o := w.operation("streamSession", "send", channelStream, "Sends a session from its first event, then live. /openapi.json has the parameters.", names)
	o["bindings"] = object{"http": object{"method": "GET", "bindingVersion": "0.3.0"}}
}
