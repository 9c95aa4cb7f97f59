-- +goose Up

-- The versions of the read models that there are. The tables of version N are in the schema vN; the views of public
-- show those of the live one. A rebuild makes the next version beside it and then changes the views over; the old one
-- stays until the next rebuild.
create table public.versions (
  version    integer     not null primary key,
  state      text        not null check (state in ('live', 'building', 'checking', 'old')),
  created_at timestamptz not null default now(),
  live_at    timestamptz
);
create unique index versions_live on public.versions (state) where state = 'live';
insert into public.versions (version, state, live_at) values (1, 'live', now());

-- Raises KD002 if a version is not the live one. A projector asks after it moved the checkpoint, whose row
-- switch_version locks: so it either commits before the switch or learns of it.
-- +goose StatementBegin
create function public.assert_live(p_version integer) returns void language plpgsql as $$
begin
  perform from public.versions where version = p_version and state = 'live';
  if not found then
    raise exception 'version % of the read models is not the live one any more', p_version using errcode = 'KD002';
  end if;
end $$;
-- +goose StatementEnd

-- Makes the empty tables of a new version, like those of the live one, and returns its number.
-- +goose StatementBegin
create function public.create_version(p_state text, p_identity text) returns integer language plpgsql as $$
declare
  live integer := (select version from public.versions where state = 'live');
  made integer := (select max(version) + 1 from public.versions);
  t text;
begin
  insert into public.versions (version, state) values (made, p_state);
  insert into public.checkpoints (projection, version, seq, stream_identity) values ('menus', made, 0, p_identity);
  execute format('create schema v%s', made);
  foreach t in array array['menus', 'sessions'] loop
    execute format('create table v%s.%I (like v%s.%I including all) with (fillfactor = 70)', made, t, live, t);
  end loop;
  return made;
end $$;
-- +goose StatementEnd

-- Removes a version that is not live.
-- +goose StatementBegin
create function public.drop_version(p_version integer) returns void language plpgsql as $$
begin
  delete from public.versions where version = p_version and state <> 'live';
  if not found then
    raise exception 'version % of the read models is live, or there is none', p_version;
  end if;
  delete from public.checkpoints where projection = 'menus' and version = p_version;
  execute format('drop schema v%s cascade', p_version);
end $$;
-- +goose StatementEnd

-- Changes the views over to a version. Its columns are those of the views before, so that readers go on.
-- +goose StatementBegin
create function public.switch_version(p_version integer) returns void language plpgsql as $$
begin
  update public.versions set state = 'old' where state = 'live';
  update public.versions set state = 'live', live_at = now() where version = p_version;
  execute format('create or replace view public.menus as
select tenant, id, session_id, position, name, translation, category, category_translation, price, description, allergy,
  ingredient, search_engine, gen_image, task6_data, task7_data, task8_data, processing_status, stages, created_at,
  updated_at, last_seq
from v%s.menus', p_version);
  execute format('create or replace view public.sessions as select * from v%s.sessions', p_version);
end $$;
-- +goose StatementEnd

create or replace view public.progress as
select c.seq, c.stream_identity, c.updated_at
from public.checkpoints c join public.versions v on v.version = c.version and v.state = 'live'
where c.projection = 'menus';
