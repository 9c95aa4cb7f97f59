-- +goose Up

-- Few dishes have a stage that is parked or waits for its next attempt, and both are looked for over all sessions. They
-- have a mark of their own, and an index of the marked ones alone; an index that read the column stages itself would be
-- touched by every answer. A new version takes both over with the rest of the table.
-- +goose StatementBegin
do $$
declare
  v integer;
begin
  for v in select version from public.versions loop
    execute format('alter table v%s.menus add column troubled boolean not null default false', v);
    execute format('update v%s.menus set troubled = true where stages @? ''$.*.status ? (@ == "failed" || @ == "retrying")''', v);
    execute format('create index menus_troubled on v%s.menus (tenant, session_id) where troubled', v);
  end loop;
end $$;
-- +goose StatementEnd

-- The views of a version: what readers see of it when it is live.
-- +goose StatementBegin
create function public.show_version(p_version integer) returns void language plpgsql as $$
begin
  execute format('create or replace view public.menus as
select tenant, id, session_id, position, name, translation, category, category_translation, price, description, allergy,
  ingredient, search_engine, gen_image, task6_data, task7_data, task8_data, processing_status, stages, created_at,
  updated_at, last_seq
from v%s.menus', p_version);
  execute format('create or replace view public.sessions as select * from v%s.sessions', p_version);
  -- Every stage of a dish that is parked or waits for its next attempt, with the event that says why. Its time is null
  -- where history does not hold that event.
  execute format('create or replace view public.troubles as
select m.tenant, m.session_id, m.id as menu_id, s.key as stage, s.value ->> ''status'' as status, (s.value ->> ''epoch'')::bigint as epoch,
  (s.value ->> ''attempts'')::bigint as attempts, s.value ->> ''reason'' as reason, s.value ->> ''error'' as error,
  (s.value ->> ''seq'')::bigint as seq, h.time, h.data ->> ''provider'' as provider, h.headers
from v%s.menus m
cross join lateral jsonb_each(m.stages) s
left join public.history h on h.seq = (s.value ->> ''seq'')::bigint
where m.troubled and s.value ->> ''status'' in (''failed'', ''retrying'')', p_version);
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function public.switch_version(p_version integer) returns void language plpgsql as $$
begin
  update public.versions set state = 'old' where state = 'live';
  update public.versions set state = 'live', live_at = now() where version = p_version;
  perform public.show_version(p_version);
end $$;
-- +goose StatementEnd

select public.show_version(version) from public.versions where state = 'live';
