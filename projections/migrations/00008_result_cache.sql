-- +goose Up

-- Results of providers that cost something, by what they answer. It is a cache: it belongs to no version, and losing it
-- costs only money.
create table public.result_cache (
  key        bytea       not null primary key,
  tenant     text        not null,
  session_id text        not null, -- whose dish was asked for; its erasure removes the row
  result     json        not null,
  bytes      bigint      not null,
  created_at timestamptz not null default now(),
  used_at    timestamptz not null default now()
);
create index result_cache_session on public.result_cache (tenant, session_id);

-- Two that wait for each other: who stores a result of a session, and who erases the session. Otherwise a result could
-- be stored between an erasure's look and its end.
create function public.erasure_lock(p_tenant text, p_session text) returns bigint language sql immutable as
$$ select hashtextextended(p_tenant || '/' || p_session, 7) $$;

-- Removes what is kept of the results of erased sessions.
-- +goose StatementBegin
create function public.erase_cache(p_tenants text[], p_sessions text[]) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(public.erasure_lock(tenant, session_id))
  from (select tenant, session_id from unnest(p_tenants, p_sessions) k (tenant, session_id) order by 1, 2) ordered;
  delete from public.result_cache c using unnest(p_tenants, p_sessions) k (tenant, session_id)
  where c.tenant = k.tenant and c.session_id = k.session_id;
end $$;
-- +goose StatementEnd
