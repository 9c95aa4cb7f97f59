-- +goose Up

-- Sessions that were erased. Rows and history lose their content in the transaction that folds the tombstone; what this
-- table remembers is how far the log has lost it too.
create table public.erasures (
  tenant     text        not null,
  session_id text        not null,
  seq        bigint      not null, -- the tombstone, the only event that stays
  through    bigint      not null, -- the session's last event; one that comes after the tombstone goes as well
  purged     bigint      not null default 0, -- the value of through when the log lost the session's events last
  purged_at  timestamptz,
  primary key (tenant, session_id)
);
create index erasures_due on public.erasures (tenant, session_id) where purged < through;

-- Sessions whose events were archived: they are out of the log, on purpose, and stay in history.
create table public.archived_sessions (
  tenant      text        not null,
  session_id  text        not null,
  first_seq   bigint      not null,
  last_seq    bigint      not null,
  events      bigint      not null,
  file        text        not null, -- where they were exported to
  archived_at timestamptz not null default now(),
  primary key (tenant, session_id)
);

-- Removes the events of sessions before their tombstones from history, and all of them from what a restore set aside.
-- +goose StatementBegin
create function public.erase_history(p_tenants text[], p_sessions text[], p_seqs bigint[]) returns void language plpgsql as $$
declare
  aside text;
begin
  delete from public.history h using unnest(p_tenants, p_sessions, p_seqs) k (tenant, session_id, seq)
  where h.tenant = k.tenant and h.session_id = k.session_id and h.seq < k.seq;
  for aside in select tablename from pg_tables where schemaname = 'lost' loop
    execute format('delete from lost.%I h using unnest($1, $2) k (tenant, session_id)
where h.tenant = k.tenant and h.session_id = k.session_id', aside) using p_tenants, p_sessions;
  end loop;
end $$;
-- +goose StatementEnd
