package main

import (
	"kondate/domain/menu"
	"kondate/handlers/asyncapi"
	"kondate/handlers/httpapi"
	"kondate/handlers/sse"
	"kondate/handlers/stage"
	"kondate/handlers/stage/external"
	"kondate/projections"
)

// progressMessage names the live message that tells how far a session is.
const progressMessage = "progress"

//go:generate go test -run ^TestMessageDocs$ . -update-docs

// describeMessages returns the AsyncAPI document of everything that other programs can hear or say.
func describeMessages(channelPrefix string) ([]byte, error) {
	work, err := external.Work()
	if err != nil {
		return nil, err
	}
	results := map[menu.Stage][]byte{}
	for _, s := range menu.Stages() {
		if results[s], err = stage.DataSchema(s); err != nil {
			return nil, err
		}
	}
	return asyncapi.Document(asyncapi.Config{
		ChannelPrefix: channelPrefix,
		Live: []asyncapi.Message{
			asyncapi.MessageOf[projections.SessionProgress](progressMessage, "How far a session is that runs, every processing.progress_update_interval."),
		},
		Stream: sse.Stream(), Work: work, Results: results, Schemas: httpapi.Schemas(),
	})
}
