package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
)

// sampleMenu is the menu of an izakaya that does not exist.
//
//go:embed samples/izakaya.json
var sampleMenu []byte

// shownInFull is how many finished dishes the demo prints with all they have.
const shownInFull = 3

type demoCommand struct {
	Config `embed:""`

	Hold bool `help:"Keep everything running afterwards until Enter or Ctrl-C, so that other programs can look at it (what the demo does on a terminal anyway)."`
}

// Help is shown below the flags.
func (demoCommand) Help() string { return "Example: kondate demo" }

// Run starts everything, submits the sample menu, shows the results and how to go on.
func (c demoCommand) Run(ctx context.Context, env environment) error {
	cfg := c.Config
	cfg.HTTP.Addr = freeAddress(ctx, cfg.HTTP.Addr)
	if cfg.NATS.URL == "" && cfg.NATS.Listen == "" {
		cfg.NATS.Listen = freeAddress(ctx, "127.0.0.1:4222")
	}
	log := newLogger(env.stderr, levelQuiet)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready := make(chan running, 1)
	served := make(chan error, 1)
	go func() {
		a := &app{cfg: cfg, log: log}
		served <- a.serve(ctx, allRoles(), func(r running) { ready <- r })
	}()
	var err error
	select {
	case r := <-ready:
		err = c.show(ctx, env, cfg, r)
		stop()
		if stopped := <-served; err == nil {
			err = stopped
		}
	case err = <-served:
	}
	return err
}

// show is the demo itself, on a running system.
func (c demoCommand) show(ctx context.Context, env environment, cfg Config, r running) error {
	out := bufio.NewWriter(env.stdout)
	cl, err := r.client()
	if err != nil {
		return err
	}
	answer, err := cl.submit(ctx, sampleMenu)
	if err != nil {
		return err
	}
	f := &follower{
		client: cl, url: answer.StreamURL, pause: cfg.SSE.Reconnect.ReconnectInterval, attempts: cfg.SSE.Reconnect.MaxReconnectAttempts,
		out: func(format string, args ...any) { fmt.Fprintf(env.stderr, format+"\n", args...) },
	}
	session, err := show(ctx, f, newScreen(env.stdout))
	if err != nil {
		return err
	}
	rows, err := cl.rows(ctx, answer.SessionID, session.LastSeq)
	if err != nil {
		return err
	}
	results := session.ItemCount*menu.StageCount - session.Unanswered()
	fmt.Fprintf(out, "\n%d dishes × %d stages: %d results. Three dishes in full:\n", len(rows), menu.StageCount, results)
	for _, i := range spread(len(rows), shownInFull) {
		printDish(out, rows[i])
	}
	printNextSteps(out, cfg, r, answer)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("print the results: %w", err)
	}
	if results != len(rows)*menu.StageCount {
		return fmt.Errorf("the session ended with %d results, want %d", results, len(rows)*menu.StageCount)
	}
	return c.hold(ctx, env)
}

// hold keeps the system up for a person who wants to look around.
func (c demoCommand) hold(ctx context.Context, env environment) error {
	in, isFile := env.stdin.(*os.File)
	if !c.Hold && (!isFile || !term.IsTerminal(int(in.Fd()))) {
		return nil
	}
	fmt.Fprintln(env.stdout, "Everything keeps running until you press Enter.")
	pressed := make(chan struct{})
	go func() {
		defer close(pressed)
		_, _ = bufio.NewReader(env.stdin).ReadString('\n') // the end of the input is as good as Enter
	}()
	select {
	case <-pressed:
	case <-ctx.Done():
	}
	return nil
}

// spread picks k places that lie evenly over n.
func spread(n, k int) []int {
	var picked []int
	for i := range min(n, k) {
		picked = append(picked, i*n/min(n, k)+n/(2*min(n, k)))
	}
	return picked
}

func printDish(out io.Writer, r row) {
	say := func(label, text string) {
		if text != "" {
			fmt.Fprintf(out, "  %-13s %s\n", label, printable(text))
		}
	}
	fmt.Fprintf(out, "\n%s  %s\n", printable(r.Name), printable(deref(r.Price)))
	say("translation", deref(r.Translation))
	var reading cuisine.PronunciationData
	if r.into(menu.Task7, &reading) {
		say("say", reading.Romaji+" ("+reading.Kana+")")
		say("order", reading.OrderPhrase.Source+"  "+reading.OrderPhrase.Romaji)
	}
	say("description", deref(r.Description))
	var allergens cuisine.AllergenData
	if r.into(menu.Allergen, &allergens) {
		byLevel := map[string][]string{}
		for _, a := range allergens.Allergens {
			byLevel[a.Level] = append(byLevel[a.Level], a.Code+" ("+a.SourceIngredient+")")
		}
		for _, level := range []string{"contains", "likely", "may_contain"} {
			say(strings.ReplaceAll(level, "_", " "), strings.Join(byLevel[level], ", "))
		}
		if len(allergens.Allergens) == 0 {
			say("allergens", "unknown: ask the staff")
		}
		say("ask", allergens.AskStaff.Ja)
	}
	var ingredients cuisine.IngredientData
	if r.into(menu.Ingredient, &ingredients) {
		var names []string
		for _, i := range ingredients.Ingredients {
			names = append(names, i.Name)
		}
		say("ingredients", strings.Join(names, ", "))
	}
	var diet cuisine.DietData
	if r.into(menu.Task6, &diet) {
		var labels []string
		for _, l := range diet.Labels {
			labels = append(labels, l.Code+": "+l.Verdict)
		}
		say("diet", strings.Join(labels, ", "))
	}
	var taste cuisine.TasteData
	if r.into(menu.Task8, &taste) {
		say("taste", strings.Join(append(taste.Taste, taste.Texture...), ", "))
	}
	var image cuisine.SearchData
	if r.into(menu.SearchEngine, &image) {
		say("image search", image.Query)
	}
}

// into reads a stage's column; false if there is nothing in it.
func (r row) into(stage menu.Stage, data any) bool {
	raw := r.Columns[stage]
	return raw != nil && json.Unmarshal(*raw, data) == nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func printNextSteps(out io.Writer, cfg Config, r running, answer accepted) {
	_, token, found := strings.Cut(answer.StreamURL, "?") // with auth.mode keys; the page needs it, too
	if found {
		token = "?" + token
	}
	fmt.Fprintf(out, `
How to go on, from a second terminal while this runs (or later, while "kondate serve" runs on the same data dir):
  the page       %s/#/s/%s%s
  the stream     curl -N '%s%s'
  watch          kondate watch %s --data-dir %s
  rows (SQL)     %s -c "select position, name, translation, allergy->'by_standard'->'jp' from menus where session_id = '%s' order by position"
`, r.HTTPURL, answer.SessionID, token, r.HTTPURL, answer.StreamURL, answer.SessionID, cfg.DataDir, r.Psql, answer.SessionID)
	fmt.Fprintf(out, "  events (NATS)  server %s, stream MENU_EVENTS, subject menu.evt.public.%s.>\n\n", redactedURLs(r.NATSURL), answer.SessionID)
}
