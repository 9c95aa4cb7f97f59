package asyncapi

import (
	"fmt"
	"strconv"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/streams"
)

// log describes the events: a channel for each type of the registry, a message for each of its released versions.
func (w *writer) log() {
	const id = "1 to 64 characters of A-Z, a-z, 0-9, _ and -."
	w.parameters["tenant"] = object{"description": "Whose menu it is; without API keys it is public. " + id, "examples": []string{string(menu.DefaultTenant)}}
	w.parameters["session"] = object{"description": "The submitted menu. " + id}
	of := headers(eventstore.Headers())
	of["description"] = "CloudEvents attributes and our own. There may be others."
	w.schemas[schemaHeaders] = of
	for stage, raw := range w.cfg.Results {
		w.embed(resultSchema(stage), raw)
	}
	for _, def := range eventstore.Registry() {
		w.event(def)
	}
}

// resultSchema names the schema of what a stage finds.
func resultSchema(stage menu.Stage) string { return stage.String() + ".data" }

func (w *writer) event(def eventstore.Definition) {
	name := string(def.Type)
	var (
		versions []string
		meaning  any
	)
	for v := def.Version; v > 0; v-- { // the newest one's schema says what the event is
		message := fmt.Sprintf("%s.v%d", name, v)
		versions = append([]string{message}, versions...)
		schema := w.eventSchema(def.Type, v)
		if meaning == nil {
			meaning = schema["description"]
		}
		w.messages[message] = w.version(def, v, meaning)
	}
	summary := fmt.Sprint(meaning)
	channel := w.channel(name, streams.TypeFilter(def.Type), serverNATS, summary, versions, "tenant", "session")
	channel["x-jetstream-stream"] = streams.EventStream
	w.operation(name, "send", name, summary, versions)
}

// eventSchema adds the schema of one version of an event; the stages share theirs.
func (w *writer) eventSchema(typ menu.Type, version int) object {
	raw, err := eventstore.Schema(typ, version)
	if err != nil {
		w.fail(err)
		return object{}
	}
	name := eventSchemaName(typ, version)
	if w.schemas[name] == nil {
		w.embed(name, raw)
	}
	schema, _ := w.schemas[name].(object)
	return schema
}

func eventSchemaName(typ menu.Type, version int) string {
	lane := string(typ.Lane())
	if _, err := menu.ParseStage(lane); err == nil {
		lane = "stage"
	}
	return fmt.Sprintf("%s.%s.v%d", lane, typ.Name(), version)
}

func (w *writer) version(def eventstore.Definition, version int, meaning any) object {
	example, err := eventstore.ExampleOf(def.Type, version)
	if err != nil {
		w.fail(err)
		return nil
	}
	headers := object{}
	for name, values := range example.Header {
		headers[name] = values[0]
	}
	name := string(def.Type)
	message := object{
		"name": name, "title": fmt.Sprintf("%s, version %d", name, version), "summary": meaning,
		"contentType":   mediaJSON,
		"correlationId": object{"location": "$message.header#/" + eventstore.HeaderCorrelation},
		"headers": object{"type": "object", "allOf": []object{ref("components/schemas", schemaHeaders), {"properties": object{
			eventstore.HeaderType:       object{"const": name},
			eventstore.HeaderSchema:     object{"const": strconv.Itoa(version)},
			eventstore.HeaderDataSchema: object{"const": eventstore.DataSchema(def.Type, version)},
		}}}},
		"payload":  ref("components/schemas", eventSchemaName(def.Type, version)),
		"examples": []object{{"name": "golden", "headers": headers, "payload": example.Data}},
		"tags":     []object{{"name": string(def.Type.Lane())}},
	}
	text := ""
	if version > 1 {
		text = fmt.Sprintf("Version %d %s. ", version, def.Changes()[version-2])
	}
	if stage, err := menu.ParseStage(string(def.Type.Lane())); err == nil && def.Type == (menu.StageCompleted{Stage: stage}).Type() {
		text += "What the stage found is `data` of each result, today in the schema `#/components/schemas/" + resultSchema(stage) + "`; null: nothing was found, which never means safe."
	}
	if text != "" {
		message["description"] = text
	}
	return message
}
