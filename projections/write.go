package projections

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// historyPartition is the width of a partition of history in sequences; make_history_partition knows it too.
const historyPartition = 1_000_000

// write stores a folded page and moves the checkpoint over it: one round trip, one transaction. The checkpoint comes
// first, so that of two projectors one waits for the other and then fails.
func (p *page) write(ctx context.Context, w *writer) error {
	last := p.entries[len(p.entries)-1].Seq
	batch := &pgx.Batch{}
	batch.Queue(sqlAdvance, projection, w.at.version, toBigint(w.at.seq), toBigint(last), w.at.identity)
	if w.live {
		batch.Queue(sqlAssertLive, w.at.version)
		if w.at.seq == 0 || w.at.seq/historyPartition != last/historyPartition {
			// One partition ahead of need.
			batch.Queue(sqlPartition, toBigint(p.entries[0].Seq/historyPartition), toBigint(last/historyPartition)+1)
		}
		kept := slices.DeleteFunc(slices.Clone(p.entries), func(e eventstore.Entry) bool { return p.removed(e.Key, e.Seq) })
		if err := p.queueHistory(batch, kept); err != nil {
			return err
		}
		p.queueErasures(batch)
	}
	if err := p.queueSessions(batch, w.sql); err != nil {
		return err
	}
	inserted, updated := p.changes()
	if err := queueDishes(batch, w.sql, inserted, updated); err != nil {
		return err
	}
	if w.live {
		queueConfirmations(batch, inserted)
	}
	if err := w.conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write events %d to %d: %w", p.entries[0].Seq, last, err)
	}
	return nil
}

func (p *page) queueHistory(batch *pgx.Batch, entries []eventstore.Entry) error {
	n := len(entries)
	var (
		seqs, versions             = make([]int64, n), make([]int64, n)
		tenants, sessions, types   = make([]string, n), make([]string, n), make([]string, n)
		times                      = make([]time.Time, n)
		ids, headers, data, errors = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		raw                        = make([][]byte, n)
	)
	for i, e := range entries {
		header, err := json.Marshal(e.Header)
		if err != nil {
			return fmt.Errorf("encode the headers of event %d: %w", e.Seq, err)
		}
		header, _ = cleanJSON(header)
		seqs[i], versions[i], times[i] = toBigint(e.Seq), int64(e.Version), e.Time
		tenants[i], sessions[i], types[i] = string(e.Key.Tenant), string(e.Key.Session), string(e.Type)
		ids[i], headers[i] = cleanText(e.ID), string(header)
		data[i], raw[i] = recordBody(e)
		switch ignored := p.ignored[e.Seq]; {
		case e.Err != nil:
			errors[i] = cleanText(e.Err.Error())
		case ignored != nil:
			errors[i] = cleanText(ignored.Error())
		}
	}
	batch.Queue(sqlHistory, seqs, tenants, sessions, types, versions, times, ids, headers, data, raw, errors)
	return nil
}

func (p *page) queueSessions(batch *pgx.Batch, sql statements) error {
	var (
		tenants, ids, titles, sources, targets, statuses, stages, correlations, lastIDs []string
		items, loaded, completed, failed, rounds, retries, images, menuSeqs, lastSeqs   []int64
		done                                                                            []bool
		created, completedAt                                                            []*time.Time
		updated                                                                         []time.Time

		erasedTenants, erasedIDs []string
	)
	for key, s := range p.sessions {
		if s.erased {
			erasedTenants, erasedIDs = append(erasedTenants, string(key.Tenant)), append(erasedIDs, string(key.Session))
		}
		if !s.Exists() || !s.changed {
			continue
		}
		tallies, err := encodeStages(s.Stages)
		if err != nil {
			return err
		}
		tenants, ids = append(tenants, string(key.Tenant)), append(ids, string(key.Session))
		titles, statuses = append(titles, cleanText(s.Title)), append(statuses, string(s.Status))
		sources, targets = append(sources, cleanText(s.SourceLanguage)), append(targets, cleanText(s.TargetLanguage))
		items, loaded = append(items, int64(s.ItemCount)), append(loaded, int64(s.Loaded))
		completed, failed = append(completed, int64(s.Completed)), append(failed, int64(s.Failed))
		stages, rounds = append(stages, string(tallies)), append(rounds, int64(s.Round))
		retries, images = append(retries, int64(s.OpenRetries)), append(images, int64(s.OpenImages))
		done = append(done, s.Done())
		created, updated = append(created, orNull(s.CreatedAt)), append(updated, s.UpdatedAt)
		completedAt = append(completedAt, orNull(s.CompletedAt))
		menuSeqs, lastSeqs = append(menuSeqs, toBigint(s.MenuSeq)), append(lastSeqs, toBigint(s.LastSeq))
		correlations, lastIDs = append(correlations, cleanText(s.correlation)), append(lastIDs, cleanText(s.lastID))
	}
	if len(ids) > 0 {
		batch.Queue(sql.sessions, tenants, ids, titles, sources, targets, statuses, items, loaded, completed, failed, stages, rounds,
			retries, images, done, created, updated, completedAt, menuSeqs, lastSeqs, correlations, lastIDs)
	}
	if len(erasedIDs) > 0 {
		batch.Queue(sql.erase, erasedTenants, erasedIDs)
	}
	return nil
}

func queueDishes(batch *pgx.Batch, sql statements, inserted, updated []dish) error {
	if len(inserted) > 0 {
		params, err := dishParams(inserted)
		if err != nil {
			return err
		}
		n := len(inserted)
		var (
			sessions, names, categories, prices = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
			positions                           = make([]int64, n)
			created                             = make([]time.Time, n)
		)
		for i, d := range inserted {
			sessions[i], positions[i], created[i] = string(d.session), int64(d.Position), d.CreatedAt
			names[i], categories[i], prices[i] = cleanText(d.Name), cleanText(d.Category), cleanText(d.Price)
		}
		batch.Queue(sql.insertDishes, append(params, sessions, positions, names, categories, prices, created)...)
	}
	if len(updated) > 0 {
		params, err := dishParams(updated)
		if err != nil {
			return err
		}
		batch.Queue(sql.updateDish, params...)
	}
	return nil
}

// dishParams returns the arrays of dishColumns.
func dishParams(dishes []dish) ([]any, error) {
	n := len(dishes)
	var (
		tenants, ids, statuses, stages = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		imageEpochs, lastSeqs          = make([]int64, n), make([]int64, n)
		imageOpen, troubled            = make([]bool, n), make([]bool, n)
		updated                        = make([]time.Time, n)
		images, categoryTranslations   = make([]string, n), make([]string, n)
		results                        [menu.StageCount][]string
	)
	for stage := range results {
		results[stage] = make([]string, n)
	}
	for i, d := range dishes {
		states, err := stageStates(d.Stages)
		if err != nil {
			return nil, fmt.Errorf("dish %s: %w", d.ID, err)
		}
		tenants[i], ids[i], statuses[i], stages[i] = string(d.tenant), string(d.ID), string(d.Status()), states
		imageEpochs[i], imageOpen[i], images[i] = int64(d.Image.Epoch), d.Image.Open, cleanText(d.Image.URL)
		troubled[i] = slices.ContainsFunc(d.Stages[:], menu.StageState.Troubled)
		updated[i], lastSeqs[i] = d.UpdatedAt, toBigint(d.LastSeq)
		for stage := range results {
			results[stage][i] = resultColumn(d.Stages[stage].Data)
		}
		// Two stages are plain text in their rows.
		results[menu.Translation][i], categoryTranslations[i] = translationColumns(d.Stages[menu.Translation].Data)
		results[menu.Description][i] = descriptionColumn(d.Stages[menu.Description].Data)
	}
	return []any{
		tenants, ids, statuses, stages, imageEpochs, imageOpen, updated, lastSeqs, images,
		results[menu.Translation], categoryTranslations, results[menu.Description], results[menu.Allergen], results[menu.Ingredient],
		results[menu.SearchEngine], results[menu.Task6], results[menu.Task7], results[menu.Task8], troubled,
	}, nil
}

// stageStates returns the column stages. A stage that nothing was said of is shown as pending.
func stageStates(states [menu.StageCount]menu.StageState) (string, error) {
	for i := range states {
		if states[i].Status == "" {
			states[i].Status = menu.StagePending
		}
	}
	encoded, err := encodeStages(states)
	if err != nil {
		return "", err
	}
	encoded, _ = cleanJSON(encoded)
	return string(encoded), nil
}

// resultColumn returns a result's data for a jsonb column; null data leaves the column null.
func resultColumn(data json.RawMessage) string {
	if len(data) == 0 || string(data) == "null" {
		return ""
	}
	clean, _ := cleanJSON(data)
	return string(clean)
}

// translationColumns reads what the rows show of a translation. Data in another shape, from a provider of somebody
// else's, shows nothing here; it stands in history.
func translationColumns(data json.RawMessage) (translation, category string) {
	var t struct {
		Translation string `json:"translation"`
		Category    string `json:"category_translation"`
	}
	if len(data) > 0 {
		_ = json.Unmarshal(data, &t) // a field of another type stays empty, the other one is read
	}
	return cleanText(t.Translation), cleanText(t.Category)
}

func descriptionColumn(data json.RawMessage) string {
	var d struct {
		Description string `json:"description"`
	}
	if len(data) > 0 {
		_ = json.Unmarshal(data, &d) // a field of another type stays empty
	}
	return cleanText(d.Description)
}

// queueConfirmations turns the reservations of submitted ids into facts. They are written in the order in which Reserve
// locks them.
func queueConfirmations(batch *pgx.Batch, inserted []dish) {
	if len(inserted) == 0 {
		return
	}
	slices.SortFunc(inserted, func(a, b dish) int { return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.ID, b.ID)) })
	n := len(inserted)
	tenants, ids, sessions := make([]string, n), make([]string, n), make([]string, n)
	for i, d := range inserted {
		tenants[i], ids[i], sessions[i] = string(d.tenant), string(d.ID), string(d.session)
	}
	batch.Queue(sqlConfirm, tenants, ids, sessions)
}
