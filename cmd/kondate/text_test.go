package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"unicode/utf8"
)

func TestReadMenu(t *testing.T) {
	t.Parallel()
	tests := map[string]submissionItem{
		"親子丼 850円":                {Name: "親子丼", Price: "850円"},
		"親子丼　￥８５０":                {Name: "親子丼", Price: "￥８５０"},
		"もつ煮込み…………580円(税込638円)":   {Name: "もつ煮込み", Price: "580円(税込638円)"},
		"Clam Chowder  $9.50":     {Name: "Clam Chowder", Price: "$9.50"},
		"Soupe à l'oignon 9,50 €": {Name: "Soupe à l'oignon", Price: "9,50 €"},
		"本日の焼き魚 時価":               {Name: "本日の焼き魚", Price: "時価"},
		"もりそば 八百円":                {Name: "もりそば", Price: "八百円"},
		"冷奴":                      {Name: "冷奴"},
		"1,280円":                  {Name: "1,280円"},
		"ビール500ml":                {Name: "ビール500ml"},
	}
	for line, want := range tests {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			body, err := readMenu([]byte("\ufeff【一品】\r\n\n " + line + " \r\n"))
			if err != nil {
				t.Fatal(err)
			}
			var got submission
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			want.Category = "一品"
			if len(got.Items) != 1 || got.Items[0] != want {
				t.Fatalf("read %+v, want %+v", got.Items, want)
			}
		})
	}
}

func TestReadMenuKeepsJSON(t *testing.T) {
	t.Parallel()
	body, err := readMenu([]byte("\n {\"items\":[]} \n"))
	if err != nil || string(body) != `{"items":[]}` {
		t.Fatalf("%q, %v", body, err)
	}
	if _, err := readMenu([]byte(" \n# only a heading\n")); err == nil {
		t.Fatal("an empty menu was accepted")
	}
}

func FuzzReadMenu(f *testing.F) {
	for _, seed := range []string{"親子丼 850円\n", "# 焼き物\nつくね 180円〜", "{\"items\":1}", "【", "……¥1", "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := readMenu(raw)
		if err != nil || !utf8.Valid(raw) {
			return
		}
		if body[0] == '{' && !json.Valid(body) && json.Valid(raw) {
			t.Fatalf("%q became %q", raw, body)
		}
	})
}

// TestLogLine keeps logs readable by machines: JSON when nobody watches.
func TestLogLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	newLogger(&out, slog.LevelInfo).Info("part stopped", "part", "http")
	if !json.Valid(out.Bytes()) {
		t.Fatalf("%q is no JSON", out.String())
	}
}
