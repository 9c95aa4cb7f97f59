package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"kondate/domain/menu"
)

// TestNastyDishesToTheEnd submits every nasty text of the file that a menu may have, as one menu, to the whole program:
// the stream ends, each frame is one line of JSON, each dish has eight answers, and the rows hold the texts as sent.
func TestNastyDishesToTheEnd(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../handlers/httpapi/testdata/nasty_inputs.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Inputs []struct {
			ID     string `json:"id"`
			Target string `json:"target"`
			Input  string `json:"input"`
			Expect string `json:"expect"`
		} `json:"inputs"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var items []map[string]string
	for _, n := range file.Inputs {
		part, field, _ := strings.Cut(n.Target, ".")
		if part != "item" || n.Input == "" || !strings.HasPrefix(n.Expect, "accept") || strings.HasPrefix(n.Input, `{"items"`) {
			continue
		}
		item := map[string]string{"id": n.ID, "name": "冷奴", "category": "小皿", "price": "350円"}
		item[field] = n.Input
		items = append(items, item)
	}
	if len(items) < 40 {
		t.Fatalf("only %d of the file's texts are in the menu", len(items))
	}
	body, err := json.Marshal(map[string]any{"title": items[0]["name"], "items": items})
	if err != nil {
		t.Fatal(err)
	}
	c := describedSystem(t)
	accepted := c.want(t, http.StatusAccepted, http.MethodPost, "/v1/sessions", string(body))
	url := accepted["stream_url"].(string)
	stream := c.send(t, http.MethodGet, url, "").body
	if bytes.ContainsRune(stream, '\r') {
		t.Error("the stream has a CR, which ends a line")
	}
	answers := map[menu.DishID]map[menu.Stage]bool{}
	var types []string
	for b, err := range frames(bytes.NewReader(stream)) {
		if err != nil {
			t.Fatal(err)
		}
		if b.data != "" && !json.Valid([]byte(b.data)) {
			t.Errorf("%s is no JSON on one line: %.300q", b.event, b.data)
		}
		types = append(types, b.event)
		if !strings.HasSuffix(b.event, ".completed") || b.event == "menu.completed" {
			continue
		}
		var e struct {
			Data menu.StageCompleted `json:"data"`
		}
		if err := json.Unmarshal([]byte(b.data), &e); err != nil {
			t.Fatal(err)
		}
		for _, r := range e.Data.Results {
			if answers[r.ID] == nil {
				answers[r.ID] = map[menu.Stage]bool{}
			}
			answers[r.ID][e.Data.Stage] = true
		}
	}
	if told := strings.Join(types, " "); !strings.HasSuffix(told, "menu.completed end") || strings.Contains(told, "done") || strings.Count(told, " end") != 1 {
		t.Errorf("the stream has the events %s", told)
	}
	var rows struct {
		Menus []map[string]any `json:"menus"`
	}
	text := c.send(t, http.MethodGet, "/v1/sessions/"+accepted["session_id"].(string)+"/menus", "").body
	if err := json.Unmarshal(text, &rows); err != nil || len(rows.Menus) != len(items) {
		t.Fatalf("%d rows, %v", len(rows.Menus), err)
	}
	for i, row := range rows.Menus {
		if n := len(answers[menu.DishID(items[i]["id"])]); n != menu.StageCount || row["processing_status"] != "completed" {
			t.Errorf("%s has %d answers and is %v", items[i]["id"], n, row["processing_status"])
		}
		for _, field := range []string{"id", "name", "category", "price"} {
			if fmt.Sprint(row[field]) != items[i][field] {
				t.Errorf("%s: %s is %q, sent was %q", items[i]["id"], field, row[field], items[i][field])
			}
		}
	}
	// n096: what no cursor is.
	for _, id := range []string{"-1", "999999999999999999999", "あ", "1", "a.b.c", "'; drop table history; --"} {
		c.want(t, http.StatusBadRequest, http.MethodGet, url, "", "Last-Event-ID: "+id)
	}
}
