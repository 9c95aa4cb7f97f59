-- +goose Up

-- Prepares the tables for a log that was restored from history: the sequences of the old one mean nothing in it. The
-- partitions of history move to the schema lost, where they stay until the next restore; the read models begin anew.
-- +goose StatementBegin
create function public.begin_restored_log(p_identity text) returns void language plpgsql as $$
declare
  partition regclass;
  made integer;
begin
  drop schema if exists lost cascade;
  create schema lost;
  for partition in select inhrelid::regclass from pg_inherits where inhparent = 'public.history'::regclass loop
    execute format('alter table public.history detach partition %s', partition);
    execute format('alter table %s set schema lost', partition);
  end loop;
  made := public.create_version('building', p_identity);
  perform public.switch_version(made);
  perform public.drop_version(version) from public.versions where version <> made;
  delete from public.erasures;          -- the tombstones are folded again
  delete from public.archived_sessions; -- the new log holds their events
end $$;
-- +goose StatementEnd
