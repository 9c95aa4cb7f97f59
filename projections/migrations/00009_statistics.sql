-- +goose Up

-- Nothing is looked for by what documents hold, and Postgres reads each one whole to count what is in them: most of the
-- processor's time that analyzing these tables takes. It is done once a minute while rows come in.
-- +goose StatementBegin
create function public.skip_statistics(p_table regclass) returns void language plpgsql as $$
declare
  col name;
begin
  for col in select attname from pg_attribute
    where attrelid = p_table and attnum > 0 and not attisdropped and atttypid = 'jsonb'::regtype
  loop
    execute format('alter table %s alter column %I set statistics 0', p_table, col);
  end loop;
end $$;
-- +goose StatementEnd

-- As in 00002, and new tables are told so: "like" does not copy it.
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
