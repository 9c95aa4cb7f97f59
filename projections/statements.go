package projections

import (
	"fmt"
	"strings"
)

// projection is the name under which the checkpoint of menus and sessions stands.
const projection = "menus"

// sessionColumns are read by scanSession, from a version's table or from the view.
const sessionColumns = `s.tenant, s.session_id, s.title, s.source_language, s.target_language, s.status, s.items, s.loaded,
  s.completed, s.failed, s.stages, s.round, s.open_retries, s.open_images, s.created_at, s.updated_at, s.completed_at,
  s.menu_seq, s.last_seq, s.correlation_id, s.last_id`

// Every statement is set-based: one row of the parameters' arrays is one row of the table, and an empty string stands
// for null. {v} is the schema of the version.
const (
	sqlLoadSessions = `select ` + sessionColumns + `
from unnest($1::text[], $2::text[]) k (tenant, session_id)
join {v}.sessions s on s.tenant = k.tenant and s.session_id = k.session_id`

	// A dish that another session holds is loaded too: that is how a second submission of its id is noticed.
	sqlLoadDishes = `select d.tenant, d.id, d.session_id, d.position, d.stages, coalesce(d.gen_image, ''), d.image_epoch, d.image_open,
  d.created_at, d.updated_at, d.last_seq
from unnest($1::text[], $2::text[]) k (tenant, id)
join {v}.menus d on d.tenant = k.tenant and d.id = k.id`

	sqlAdvance = `select public.advance_checkpoint($1, $2, $3, $4, $5)`

	sqlAssertLive = `select public.assert_live($1)`

	sqlPartition = `select public.make_history_partition(p) from generate_series($1::bigint, $2::bigint) p`

	sqlHistory = `insert into public.history (seq, tenant, session_id, type, version, time, id, headers, data, raw, error)
select seq, tenant, session_id, type, version, time, id, headers::json, nullif(data, '')::json, raw, nullif(error, '')
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::text[])
  u (seq, tenant, session_id, type, version, time, id, headers, data, raw, error)`

	sqlSessions = `insert into {v}.sessions (tenant, session_id, title, source_language, target_language, status, items, loaded,
  completed, failed, stages, round, open_retries, open_images, done, created_at, updated_at, completed_at, menu_seq, last_seq, correlation_id, last_id)
select tenant, session_id, title, source_language, target_language, status, items, loaded,
  completed, failed, stages::jsonb, round, open_retries, open_images, done, created_at, updated_at, completed_at, menu_seq, last_seq, correlation_id, last_id
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[],
  $12::bigint[], $13::bigint[], $14::bigint[], $15::boolean[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::bigint[], $20::bigint[], $21::text[], $22::text[])
  u (tenant, session_id, title, source_language, target_language, status, items, loaded,
  completed, failed, stages, round, open_retries, open_images, done, created_at, updated_at, completed_at, menu_seq, last_seq, correlation_id, last_id)
on conflict (tenant, session_id) do update set title = excluded.title, source_language = excluded.source_language,
  target_language = excluded.target_language, status = excluded.status, items = excluded.items, loaded = excluded.loaded,
  completed = excluded.completed, failed = excluded.failed, stages = excluded.stages, round = excluded.round,
  open_retries = excluded.open_retries, open_images = excluded.open_images, done = excluded.done, created_at = excluded.created_at,
  updated_at = excluded.updated_at, completed_at = excluded.completed_at, menu_seq = excluded.menu_seq, last_seq = excluded.last_seq,
  correlation_id = excluded.correlation_id, last_id = excluded.last_id`

	sqlErase = `delete from {v}.menus m using unnest($1::text[], $2::text[]) k (tenant, session_id)
where m.tenant = k.tenant and m.session_id = k.session_id`

	sqlEraseHistory = `select public.erase_history($1, $2, $3)`

	sqlEraseCache = `select public.erase_cache($1, $2)`

	sqlEraseIDs = `delete from public.menu_ids m using unnest($1::text[], $2::text[]) k (tenant, session_id)
where m.tenant = k.tenant and m.session_id = k.session_id`

	sqlErasures = `insert into public.erasures as e (tenant, session_id, seq, through)
select tenant, session_id, seq, through from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) u (tenant, session_id, seq, through)
on conflict (tenant, session_id) do update set through = greatest(e.through, excluded.through)`

	// dishParameters are the columns that an insert and an update of dishes share, in the order of dishColumns.
	dishParameters = `$1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::boolean[], $7::timestamptz[], $8::bigint[],
  $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
  $18::text[], $19::boolean[]`
	dishColumns = `tenant, id, processing_status, stages, image_epoch, image_open, updated_at, last_seq,
  gen_image, translation, category_translation, description, allergy, ingredient, search_engine, task6_data, task7_data,
  task8_data, troubled`

	sqlInsertDishes = `insert into {v}.menus (tenant, id, processing_status, stages, image_epoch, image_open, updated_at, last_seq,
  gen_image, translation, category_translation, description, allergy, ingredient, search_engine, task6_data, task7_data, task8_data,
  troubled, session_id, position, name, category, price, created_at)
select tenant, id, processing_status, stages::jsonb, image_epoch, image_open, updated_at, last_seq,
  nullif(gen_image, ''), nullif(translation, ''), nullif(category_translation, ''), nullif(description, ''), nullif(allergy, '')::jsonb,
  nullif(ingredient, '')::jsonb, nullif(search_engine, '')::jsonb, nullif(task6_data, '')::jsonb, nullif(task7_data, '')::jsonb, nullif(task8_data, '')::jsonb,
  troubled, session_id, position, name, nullif(category, ''), nullif(price, ''), created_at
from unnest(` + dishParameters + `, $20::text[], $21::bigint[], $22::text[], $23::text[], $24::text[], $25::timestamptz[])
  u (` + dishColumns + `, session_id, position, name, category, price, created_at)`

	// A stage's column goes from null to its result once and never changes after that: only a parked stage, which has no
	// result, can be retried.
	sqlUpdateDishes = `update {v}.menus m set processing_status = u.processing_status, stages = u.stages::jsonb, image_epoch = u.image_epoch,
  image_open = u.image_open, updated_at = u.updated_at, last_seq = u.last_seq, gen_image = nullif(u.gen_image, ''),
  translation = coalesce(m.translation, nullif(u.translation, '')),
  category_translation = coalesce(m.category_translation, nullif(u.category_translation, '')),
  description = coalesce(m.description, nullif(u.description, '')),
  allergy = coalesce(m.allergy, nullif(u.allergy, '')::jsonb),
  ingredient = coalesce(m.ingredient, nullif(u.ingredient, '')::jsonb),
  search_engine = coalesce(m.search_engine, nullif(u.search_engine, '')::jsonb),
  task6_data = coalesce(m.task6_data, nullif(u.task6_data, '')::jsonb),
  task7_data = coalesce(m.task7_data, nullif(u.task7_data, '')::jsonb),
  task8_data = coalesce(m.task8_data, nullif(u.task8_data, '')::jsonb), troubled = u.troubled
from unnest(` + dishParameters + `) u (` + dishColumns + `)
where m.tenant = u.tenant and m.id = u.id`

	// The log decides: an id that was only reserved belongs to whoever submitted it.
	sqlConfirm = `insert into public.menu_ids as r (tenant, menu_id, session_id, confirmed)
select tenant, menu_id, session_id, true from unnest($1::text[], $2::text[], $3::text[]) u (tenant, menu_id, session_id)
on conflict (tenant, menu_id) do update set session_id = excluded.session_id, confirmed = true where not r.confirmed`

	sqlSession = `select ` + sessionColumns + ` from {v}.sessions s where s.tenant = $1 and s.session_id = $2`

	sqlParked = `select id, position, stages from {v}.menus
where tenant = $1 and session_id = $2 and processing_status = 'failed'`

	sqlDone = `select ` + sessionColumns + ` from {v}.sessions s where s.done order by s.tenant, s.session_id limit $1`

	sqlExpired = `select ` + sessionColumns + ` from {v}.sessions s where s.status = 'processing' and not s.done
  and case when s.round = 0 then s.created_at else s.updated_at end < $1 order by s.tenant, s.session_id limit $2`

	sqlRunning = `select ` + sessionColumns + ` from {v}.sessions s where s.status = 'processing'
  and (s.tenant, s.session_id) > ($1, $2) order by s.tenant, s.session_id limit $3`
)

// statements are the statements over the tables of one version.
type statements struct {
	loadSessions, loadDishes                  string
	sessions, erase, insertDishes, updateDish string
	session, parked, done, expired, running   string
}

func newStatements(version int) statements {
	in := strings.NewReplacer("{v}", fmt.Sprintf("v%d", version)).Replace
	return statements{
		loadSessions: in(sqlLoadSessions), loadDishes: in(sqlLoadDishes),
		sessions: in(sqlSessions), erase: in(sqlErase), insertDishes: in(sqlInsertDishes), updateDish: in(sqlUpdateDishes),
		session: in(sqlSession), parked: in(sqlParked), done: in(sqlDone),
		expired: in(sqlExpired), running: in(sqlRunning),
	}
}
