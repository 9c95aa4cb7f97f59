package openai

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

const (
	// MaxImage bounds a picture, in bytes.
	MaxImage = 10 << 20
	// maxImageReply bounds the server's answer: a picture in base64, and what stands around it.
	maxImageReply = MaxImage/3*4 + 1<<20
)

// Painter asks a model for pictures. It is safe for concurrent use.
type Painter struct {
	endpoint
	service sdk.ImageService
	client  *http.Client
	origin  *url.URL
	plain   atomic.Bool // the model takes no response_format: it always sends base64
}

// NewPainter returns a painter with the model [Config.ImageModel].
func NewPainter(cfg Config) (*Painter, error) {
	if err := errors.Join(cfg.Validate(), validModel("ImageModel", cfg.ImageModel)); err != nil {
		return nil, err
	}
	cfg = cfg.WithDefaults()
	origin, err := cfg.base()
	if err != nil {
		return nil, err
	}
	client := httpClient(cfg.Transport, maxImageReply)
	return &Painter{
		endpoint: endpoint{cfg.BaseURL, cfg.APIKey, cfg.ImageModel},
		service:  sdk.NewImageService(cfg.options(client)...), client: client, origin: origin,
	}, nil
}

// Paint returns one picture for a prompt and its media type: image/png, image/jpeg or image/webp, by what the bytes are
// and not by what the server calls them. A failure is an [*stage.Error]; it ends with ctx's cause when ctx does.
func (p *Painter) Paint(ctx context.Context, prompt string) (image []byte, mediaType string, err error) {
	params := sdk.ImageGenerateParams{Prompt: prompt, Model: p.model}
	if !p.plain.Load() {
		params.ResponseFormat = sdk.ImageGenerateParamsResponseFormatB64JSON
	}
	reply, failed, retry := p.generate(ctx, params)
	if retry && params.ResponseFormat != "" {
		p.plain.Store(true)
		params.ResponseFormat = ""
		reply, failed, _ = p.generate(ctx, params)
	}
	if failed != nil {
		return nil, "", failed.err
	}
	if reply == nil || len(reply.Data) == 0 {
		return nil, "", invalid(fmt.Errorf("%s sent an answer without a picture", p.base))
	}
	if image, err = p.read(ctx, reply.Data[0]); err != nil {
		return nil, "", err
	}
	switch mediaType = http.DetectContentType(image); mediaType {
	case "image/png", "image/jpeg", "image/webp":
		return image, mediaType, nil
	}
	return nil, "", invalid(fmt.Errorf("%s sent a picture of type %s: only PNG, JPEG and WebP are taken", p.base, mediaType))
}

// generate makes one request. retry says that the model does not take the parameter response_format.
func (p *Painter) generate(ctx context.Context, params sdk.ImageGenerateParams) (reply *sdk.ImagesResponse, failed *failure, retry bool) {
	var res *http.Response
	reply, err := p.service.Generate(ctx, params, option.WithResponseInto(&res))
	if err == nil && res != nil && res.StatusCode < http.StatusMultipleChoices {
		return reply, nil, false
	}
	if err == nil {
		err = errors.New("no answer")
	}
	if api, is := errors.AsType[*sdk.Error](err); is && api.StatusCode == http.StatusBadRequest && api.Param == "response_format" {
		retry = true
	}
	return nil, p.classify(ctx, res, err), retry
}

// read returns the picture's bytes. Only the server that was asked is asked again for a picture that it gives as an
// address: any other could be one inside our network.
func (p *Painter) read(ctx context.Context, i sdk.Image) ([]byte, error) {
	switch {
	case i.B64JSON != "":
		return decodeImage(i.B64JSON)
	case strings.HasPrefix(i.URL, "data:"):
		head, body, _ := strings.Cut(i.URL, ",")
		if !strings.HasSuffix(head, ";base64") {
			return nil, invalid(errors.New("the picture's data URL is not in base64"))
		}
		return decodeImage(body)
	case i.URL == "":
		return nil, invalid(fmt.Errorf("%s sent an answer without a picture", p.base))
	}
	at, err := url.Parse(i.URL)
	if err != nil || at.User != nil || !sameOrigin(at, p.origin) {
		return nil, invalid(fmt.Errorf("%s sent a picture as an address at another server, which is not asked: let it send base64", p.base))
	}
	return p.fetch(ctx, at)
}

func (p *Painter) fetch(ctx context.Context, at *url.URL) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, invalid(errors.New("the picture's address cannot be asked for"))
	}
	if p.key != "" {
		r.Header.Set("Authorization", "Bearer "+string(p.key))
	}
	res, err := p.client.Do(r)
	if err != nil {
		return nil, p.classify(ctx, nil, err).err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	if res.StatusCode != http.StatusOK {
		return nil, p.classify(ctx, res, errors.New("the picture is not there")).err
	}
	image, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, p.classify(ctx, res, err).err
	}
	return image, checkSize(len(image))
}

func decodeImage(text string) ([]byte, error) {
	if err := checkSize(base64.StdEncoding.DecodedLen(len(text)) - 2); err != nil {
		return nil, err
	}
	image, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid(fmt.Errorf("the picture is not in base64: %w", err))
	}
	return image, checkSize(len(image))
}

func checkSize(n int) error {
	if n > MaxImage {
		return invalid(fmt.Errorf("the picture has more than %d bytes", MaxImage))
	}
	return nil
}

// sameOrigin compares scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		switch {
		case u.Port() != "":
			return u.Port()
		case strings.EqualFold(u.Scheme, "https"):
			return "443"
		}
		return "80"
	}
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}
