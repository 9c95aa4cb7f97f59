-- +goose Up

-- How far each version of a projection has come. The stream's identity says what the sequence is a sequence of.
create table public.checkpoints (
  projection      text        not null,
  version         integer     not null,
  seq             bigint      not null,
  stream_identity text        not null,
  updated_at      timestamptz not null default now(),
  primary key (projection, version)
);

-- Moves a checkpoint by compare-and-set. It raises KD001 when somebody else moved it, so that the transaction of a
-- projector that no longer leads cannot commit.
-- +goose StatementBegin
create function public.advance_checkpoint(p_projection text, p_version integer, p_from bigint, p_to bigint, p_identity text)
returns void language plpgsql as $$
begin
  update public.checkpoints set seq = p_to, updated_at = clock_timestamp()
  where projection = p_projection and version = p_version and seq = p_from and stream_identity = p_identity;
  if not found then
    raise exception 'the checkpoint of % version % is not at event % of stream %', p_projection, p_version, p_from, p_identity
      using errcode = 'KD001';
  end if;
end $$;
-- +goose StatementEnd

-- Every message of the log, in no version: a rebuild reads it. data and headers are json and not jsonb, for this is the
-- log's second copy: the body stays as it was written, byte for byte.
create table public.history (
  seq        bigint      not null,
  tenant     text        not null, -- empty, as session_id: the subject names no session
  session_id text        not null,
  type       text        not null,
  version    bigint      not null, -- of the event's schema
  time       timestamptz not null, -- the appender's clock
  id         text        not null,
  headers    json        not null,
  data       json,                 -- null: the body is no JSON
  raw        bytea,                -- the body byte for byte, where data does not hold it
  error      text,                 -- why projections pass the event over
  primary key (seq)
) partition by range (seq);

create index history_session on public.history (tenant, session_id, seq);

-- Makes the partition number p_index of history, 1,000,000 sequences wide, unless it is there. Attaching a table, unlike
-- creating it in place, lets readers of history go on.
-- +goose StatementBegin
create function public.make_history_partition(p_index bigint) returns void language plpgsql as $$
declare
  partition text := 'history_' || p_index;
begin
  if to_regclass('public.' || partition) is not null then
    return;
  end if;
  execute format('create table public.%I (like public.history)', partition);
  execute format('alter table public.history attach partition public.%I for values from (%s) to (%s)',
    partition, p_index * 1000000, (p_index + 1) * 1000000);
end $$;
-- +goose StatementEnd

-- Who holds a dish's id within a tenant: reserved before a submission is appended, confirmed when it is projected.
create table public.menu_ids (
  tenant      text        not null,
  menu_id     text        not null,
  session_id  text        not null,
  reserved_at timestamptz not null default now(),
  confirmed   boolean     not null default false,
  primary key (tenant, menu_id)
);

-- Version 1 of the read models. A later version is built in a schema of its own beside it; the views of public then
-- change over to it.
create schema v1;

create table v1.menus (
  tenant               text        not null,
  id                   text        not null,
  session_id           text        not null,
  position             bigint      not null,
  name                 text        not null,
  translation          text,
  category             text,
  category_translation text,
  price                text,
  description          text,
  allergy              jsonb,
  ingredient           jsonb,
  search_engine        jsonb,
  gen_image            text,
  task6_data           jsonb,
  task7_data           jsonb,
  task8_data           jsonb,
  processing_status    text        not null default 'pending',
  stages               jsonb       not null default '{}',
  created_at           timestamptz not null,
  updated_at           timestamptz not null,
  last_seq             bigint      not null,
  image_epoch          bigint      not null default 0,
  image_open           boolean     not null default false,
  primary key (tenant, id)
) with (fillfactor = 70); -- eight stages change each row: room for the new versions beside the old

create index menus_session on v1.menus (tenant, session_id, position);

create table v1.sessions (
  tenant          text        not null,
  session_id      text        not null,
  title           text        not null,
  source_language text        not null,
  target_language text        not null,
  status          text        not null,
  items           bigint      not null, -- as submitted
  loaded          bigint      not null, -- folded; below items while chunks are missing
  completed       bigint      not null,
  failed          bigint      not null,
  stages          jsonb       not null,
  round           bigint      not null,
  open_retries    bigint      not null,
  open_images     bigint      not null,
  done            boolean     not null, -- every answer is there and menu.completed is due
  created_at      timestamptz,          -- null: erased before it was submitted
  updated_at      timestamptz not null,
  completed_at    timestamptz,
  menu_seq        bigint      not null, -- last event of the lane menu
  last_seq        bigint      not null,
  correlation_id  text        not null,
  last_id         text        not null, -- id of the event last_seq
  primary key (tenant, session_id)
) with (fillfactor = 70);

create index sessions_done on v1.sessions (tenant, session_id) where done;

create view public.menus as
select tenant, id, session_id, position, name, translation, category, category_translation, price, description, allergy,
  ingredient, search_engine, gen_image, task6_data, task7_data, task8_data, processing_status, stages, created_at,
  updated_at, last_seq
from v1.menus;

create view public.sessions as select * from v1.sessions;

-- How far menus and sessions are: one row, or none before the first start.
create view public.progress as
select seq, stream_identity, updated_at from public.checkpoints where projection = 'menus' and version = 1;

-- One row per dish and stage, for analysts. time is that of the event which led to the stage's state.
create view public.dish_stages as
select m.tenant, m.session_id, m.id as menu_id, m.position, m.name, m.category, s.stage, state.status, state.provider,
  state.basis, state.confidence, state.attempts, state.epoch, state.seq, h.time, state.reason, state.error, s.data
from public.menus m
cross join lateral (values
  ('translation', case when m.translation is not null
    then jsonb_build_object('translation', m.translation, 'category_translation', m.category_translation) end),
  ('description', case when m.description is not null then jsonb_build_object('description', m.description) end),
  ('allergen', m.allergy),
  ('ingredient', m.ingredient),
  ('search_engine', m.search_engine),
  ('task6', m.task6_data),
  ('task7', m.task7_data),
  ('task8', m.task8_data)
) s (stage, data)
cross join lateral jsonb_to_record(m.stages -> s.stage) as state (status text, provider text, basis text,
  confidence double precision, attempts bigint, epoch bigint, seq bigint, reason text, error text)
left join public.history h on h.seq = state.seq;
