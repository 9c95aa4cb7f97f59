package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/cuisine"
	"kondate/handlers/image"
	"kondate/handlers/stage/openai"
	"kondate/streams"
)

// pictures returns the part that makes the pictures of dishes that are asked for.
func (a *app) pictures() (part, error) {
	knowledge, err := cuisine.Load()
	if err != nil {
		return part{}, err
	}
	store, deliveries, err := a.openStore("pictures")
	if err != nil {
		return part{}, err
	}
	var painter image.Painter
	if a.cfg.OpenAI.ImageModel != "" {
		if painter, err = openai.NewPainter(a.cfg.OpenAI.endpoint()); err != nil {
			return part{}, fmt.Errorf("the painter of pictures: %w", err)
		}
	}
	maker, err := image.New(store, streams.NewImages(a.js), func(ctx context.Context, name string) (jetstream.Consumer, error) {
		return streams.OpenConsumer(ctx, deliveries, name)
	}, image.Config{
		Names:        image.NamesOf(knowledge),
		Painter:      painter,
		PaintTimeout: a.cfg.Processing.TaskTimeout,
		AckWait:      a.cfg.Stages.AckWait,
		Clock:        time.Now,
		Logger:       a.log,
	})
	if err != nil {
		return part{}, err
	}
	return part{"pictures", maker.Run}, nil
}
