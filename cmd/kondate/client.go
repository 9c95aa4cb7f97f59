package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"kondate/domain/menu"
)

// client speaks the HTTP API of a running kondate serve.
type client struct {
	base string // "http://127.0.0.1:8080"
	key  string // API key; empty: none
	http *http.Client
}

// accepted is the answer to a submission.
type accepted struct {
	SessionID string `json:"session_id"`
	StreamURL string `json:"stream_url"`
	Seq       uint64 `json:"seq"`
	Items     []struct {
		MenuID   menu.DishID `json:"menu_id"`
		Position int         `json:"position"`
	} `json:"items"`
}

// row is a dish as GET /v1/sessions/{id}/menus returns it, as far as this program shows it.
type row struct {
	ID               menu.DishID                     `json:"id"`
	Position         int                             `json:"position"`
	Name             string                          `json:"name"`
	Price            *string                         `json:"price"`
	Translation      *string                         `json:"translation"`
	Description      *string                         `json:"description"`
	ProcessingStatus menu.ProcessingStatus           `json:"processing_status"`
	Stages           map[menu.Stage]menu.StageState  `json:"stages"`
	Columns          map[menu.Stage]*json.RawMessage `json:"-"` // allergen, ingredient, search_engine, task6…8
}

// UnmarshalJSON also collects the columns of the stages.
func (r *row) UnmarshalJSON(raw []byte) error {
	type plain row
	if err := json.Unmarshal(raw, (*plain)(r)); err != nil {
		return err
	}
	var columns struct {
		Allergy      *json.RawMessage `json:"allergy"`
		Ingredient   *json.RawMessage `json:"ingredient"`
		SearchEngine *json.RawMessage `json:"search_engine"`
		Task6        *json.RawMessage `json:"task6_data"`
		Task7        *json.RawMessage `json:"task7_data"`
		Task8        *json.RawMessage `json:"task8_data"`
	}
	if err := json.Unmarshal(raw, &columns); err != nil {
		return err
	}
	r.Columns = map[menu.Stage]*json.RawMessage{
		menu.Allergen: columns.Allergy, menu.Ingredient: columns.Ingredient, menu.SearchEngine: columns.SearchEngine,
		menu.Task6: columns.Task6, menu.Task7: columns.Task7, menu.Task8: columns.Task8,
	}
	return nil
}

// problem is an answer of the type application/problem+json.
type problem struct {
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail"`
	Errors []menu.FieldError `json:"errors"`
}

// Error says what the server said.
func (p *problem) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "the server answered %d %s", p.Status, p.Title)
	if p.Detail != "" {
		text.WriteString(": " + p.Detail)
	}
	for _, f := range p.Errors {
		text.WriteString("\n  " + f.Field + " " + f.Problem)
	}
	return text.String()
}

// submit posts a menu.
func (c *client) submit(ctx context.Context, body []byte) (accepted, error) {
	var answer accepted
	err := c.call(ctx, http.MethodPost, "/v1/sessions", body, &answer)
	return answer, err
}

// rows reads a session's dishes once the projection has reached a sequence.
func (c *client) rows(ctx context.Context, session string, minSeq uint64) ([]row, error) {
	var answer struct {
		Menus []row `json:"menus"`
	}
	err := c.call(ctx, http.MethodGet, fmt.Sprintf("/v1/sessions/%s/menus?min_seq=%d", session, minSeq), nil, &answer)
	return answer.Menus, err
}

func (c *client) call(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request %s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c.authorize(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from %s (is kondate serve running there?): %w", c.base, explainTLS(err, "--http-tls-ca", ""))
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode >= http.StatusBadRequest {
		return problemOf(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// authorize adds the key to a request. It then needs no token, and what is in no address gets into no message.
func (c *client) authorize(req *http.Request) {
	if c.key == "" {
		return
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	query := req.URL.Query()
	if query.Has("token") {
		query.Del("token")
		req.URL.RawQuery = query.Encode()
	}
}

func problemOf(resp *http.Response) error {
	p := &problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		_ = json.Unmarshal(raw, p) // what cannot be read leaves the status, which says enough
	}
	return p
}
