package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/cuisine"
	"kondate/handlers/image"
	"kondate/handlers/stage"
	"kondate/handlers/stage/openai"
	"kondate/streams"
)

// pictures returns the part that makes the pictures of dishes that are asked for.
func (a *app) pictures() (part, error) {
	store, deliveries, err := a.openStore("pictures")
	if err != nil {
		return part{}, err
	}
	var painter image.Painter
	if a.cfg.OpenAI.ImageModel != "" {
		model, err := openai.NewPainter(a.cfg.OpenAI.endpoint())
		if err != nil {
			return part{}, fmt.Errorf("the painter of pictures: %w", err)
		}
		painter = modelPainter{model}
	}
	maker, err := image.New(store, streams.NewImages(a.js), func(ctx context.Context, name string) (jetstream.Consumer, error) {
		return streams.OpenConsumer(ctx, deliveries, name)
	}, image.Config{
		Knowledge:    cuisine.Load,
		Painter:      painter,
		PaintTimeout: a.cfg.Processing.TaskTimeout,
		AckWait:      a.cfg.Stages.AckWait,
		Clock:        time.Now,
		Logger:       a.log,
		Tracer:       a.tracer,
	})
	if err != nil {
		return part{}, err
	}
	return part{"pictures", maker.Run}, nil
}

// modelPainter tells the maker which failures asking again does not mend.
type modelPainter struct{ model *openai.Painter }

// Paint implements [image.Painter].
func (p modelPainter) Paint(ctx context.Context, prompt string) ([]byte, string, error) {
	picture, mediaType, err := p.model.Paint(ctx, prompt)
	if failure, ok := errors.AsType[*stage.Error](err); ok && failure.Permanent {
		err = fmt.Errorf("%w: %w", image.ErrRefused, err)
	}
	return picture, mediaType, err
}
