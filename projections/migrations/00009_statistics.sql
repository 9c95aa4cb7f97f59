-- +goose Up

-- Nothing is looked for by what documents hold, and Postgres reads each one whole to count what is in them: most of the
-- processor's time that analyzing these tables takes. It is done once a minute while rows come in.
-- +goose StatementBegin
create function public.skip_statistics(p_table regclass) returns void language plpgsql as $$
declare
  col name;
begin
  for col in select attname from pg_attribute
    where attrelid = p_table and attnum > 0 and not attisdropped and atttypid in ('json'::regtype, 'jsonb'::regtype, 'bytea'::regtype)
  loop
    execute format('alter table %s alter column %I set statistics 0', p_table, col);
  end loop;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function public.make_history_partition(p_index bigint) returns void language plpgsql as $$
declare
  partition text := 'history_' || p_index;
begin
  if to_regclass('public.' || partition) is not null then
    return;
  end if;
  execute format('create table public.%I (like public.history)', partition);
  perform public.skip_statistics(format('public.%I', partition)::regclass);
  execute format('alter table public.history attach partition public.%I for values from (%s) to (%s)',
    partition, p_index * 1000000, (p_index + 1) * 1000000);
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function public.create_version(p_state text, p_identity text) returns integer language plpgsql as $$
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
    perform public.skip_statistics(format('v%s.%I', made, t)::regclass);
  end loop;
  return made;
end $$;
-- +goose StatementEnd

select public.skip_statistics(format('v%s.%I', version, t)::regclass) from public.versions, unnest(array['menus', 'sessions']) t;
select public.skip_statistics('public.history');
select public.skip_statistics(inhrelid) from pg_inherits where inhparent = 'public.history'::regclass;
