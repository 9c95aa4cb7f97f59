-- +goose Up

-- A session that an archive has begun to take out of the log. An archive that is stopped leaves some; the next one ends what it began.
alter table public.archived_sessions add column leaving boolean not null default false;
create index archived_sessions_leaving on public.archived_sessions (tenant, session_id) where leaving;
