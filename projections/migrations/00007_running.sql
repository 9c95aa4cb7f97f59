-- +goose Up

-- Sessions that run are looked for over all of them, to say how far they are and to end those that take too long.
-- +goose StatementBegin
do $$
declare
  v integer;
begin
  for v in select version from public.versions loop
    execute format('create index sessions_running on v%s.sessions (tenant, session_id) where status = ''processing''', v);
  end loop;
end $$;
-- +goose StatementEnd
