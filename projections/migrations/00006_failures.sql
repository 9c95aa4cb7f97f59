-- +goose Up

-- Few dishes have a stage that is parked or waits for its next attempt, and both are looked for over all sessions: an
-- index of those alone. A new version takes it over with the rest of the table.
-- +goose StatementBegin
do $$
declare
  v integer;
begin
  for v in select version from public.versions loop
    execute format('create index menus_troubled on v%s.menus (tenant, session_id)
where stages @? ''$.*.status ? (@ == "failed" || @ == "retrying")''', v);
  end loop;
end $$;
-- +goose StatementEnd

-- Every stage of a dish that is parked or waits for its next attempt, with the event that says why. A null event was
-- erased, or is on its way.
create view public.troubles as
select m.tenant, m.session_id, m.id as menu_id, s.key as stage, s.value ->> 'status' as status, (s.value ->> 'epoch')::bigint as epoch,
  (s.value ->> 'attempts')::bigint as attempts, s.value ->> 'reason' as reason, s.value ->> 'error' as error,
  (s.value ->> 'seq')::bigint as seq, h.time, h.data ->> 'provider' as provider, h.headers
from public.menus m
cross join lateral jsonb_each(m.stages) s
left join public.history h on h.seq = (s.value ->> 'seq')::bigint
where m.stages @? '$.*.status ? (@ == "failed" || @ == "retrying")' and s.value ->> 'status' in ('failed', 'retrying');
