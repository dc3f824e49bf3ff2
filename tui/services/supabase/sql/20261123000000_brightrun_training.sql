-- BrightRun in a Supabase project: its tables, who may do what with them, and the bucket of adapters.
--
-- One transaction, safe to run again. `brightrun supabase migrate` runs it; it is a plain migration
-- for the Supabase CLI as well (supabase/migrations/), or for psql --single-transaction.
-- Tables of the same names but of another shape are never touched: the first block refuses (BR001).
-- Each rule below goes by the user of auth.users in created_by. A secret key passes all of them.

select pg_advisory_xact_lock(hashtextextended('brightrun schema', 0));

-- 1. What stands there already -------------------------------------------------------------------

do $$
declare
    shape record;
    missing text;
    demanded text;
begin
    for shape in
        select * from (values
            ('training_files', array['id'], null),
            ('training_jobs', array['id', 'training_file_id', 'status', 'runpod_pod_id',
                'runpod_endpoint_url', 'hyperparameters', 'metrics', 'current_step', 'total_steps',
                'current_epoch', 'started_at', 'completed_at', 'estimated_completion_at',
                'estimated_cost_usd', 'actual_cost_usd', 'gpu_hours', 'lora_artifact_path',
                'training_log_path', 'error_message', 'retry_count', 'created_by', 'created_at',
                'updated_at'],
                array['brightrun_job_id', 'name', 'notes', 'tags', 'host', 'activity', 'stop_reason',
                'attempt', 'base_model', 'eval_loss', 'eval_perplexity', 'source_updated_at']),
            ('model_artifacts', array['id', 'training_job_id', 'artifact_type', 'storage_path',
                'file_size_bytes', 'base_model', 'lora_config', 'validation_loss',
                'validation_perplexity', 'human_eval_score', 'deployment_status', 'deployed_at',
                'created_at', 'created_by'],
                array['attempt', 'step', 'sha256', 'manifest_sha256', 'base_model_revision', 'name',
                'version', 'updated_at']),
            ('training_metrics_history', array['id', 'training_job_id', 'step', 'epoch', 'loss',
                'learning_rate', 'grad_norm', 'recorded_at'],
                array['attempt', 'eval_loss', 'tokens', 'is_finite'])
        ) as expected (table_name, columns, ours)
        where to_regclass(format('public.%I', table_name)) is not null
    loop
        select string_agg(wanted, ', ' order by wanted) into missing
        from unnest(shape.columns) as wanted
        where not exists (
            select from pg_attribute
            where attrelid = to_regclass(format('public.%I', shape.table_name))
                and attname = wanted and attnum > 0 and not attisdropped
        );
        -- A column that must be filled and that nobody here knows would refuse every row.
        select string_agg(attname, ', ' order by attname) into demanded
        from pg_attribute
        where attrelid = to_regclass(format('public.%I', shape.table_name))
            and attnum > 0 and not attisdropped and attnotnull and not atthasdef
            and attidentity = '' and shape.ours is not null
            and not attname = any (shape.columns || shape.ours);
        if missing is not null or demanded is not null then
            raise exception 'table public.% has another shape: %', shape.table_name,
                concat_ws('; ', 'it lacks ' || missing, 'it demands ' || demanded)
                using errcode = 'BR001';
        end if;
        if not exists (
            select from pg_class c join pg_attribute a on a.attrelid = c.oid
            where c.oid = to_regclass(format('public.%I', shape.table_name))
                and c.relkind in ('r', 'p') and a.attname = 'id' and a.atttypid = 'uuid'::regtype
        ) then
            raise exception 'table public.% has another shape: its id is no uuid, or it is a view',
                shape.table_name using errcode = 'BR001';
        end if;
    end loop;
end
$$;

-- 2. Tables --------------------------------------------------------------------------------------

-- The web application's. It is made here only where it is missing, and left as it is elsewhere.
do $$
begin
    if to_regclass('public.training_files') is null then
        create table public.training_files (
            id uuid primary key default gen_random_uuid(),
            name text not null,
            description text,
            conversation_count integer check (conversation_count >= 0),
            total_training_pairs integer check (total_training_pairs >= 0),
            json_file_path text,
            jsonl_file_path text,
            json_file_size bigint check (json_file_size >= 0),
            jsonl_file_size bigint check (jsonl_file_size >= 0),
            sha256 text check (sha256 ~ '^[0-9a-f]{64}$'),
            metadata jsonb not null default '{}',
            status text not null default 'ready',
            created_by uuid default auth.uid() references auth.users (id) on delete set null,
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now()
        );
        comment on table public.training_files is 'brightrun: conversations that jobs train on';
    end if;
end
$$;

create table if not exists public.training_jobs (
    id uuid primary key default gen_random_uuid(),
    training_file_id uuid references public.training_files (id) on delete set null,
    status text not null default 'queued',
    runpod_pod_id text,
    runpod_endpoint_url text,
    hyperparameters jsonb not null default '{}',
    metrics jsonb not null default '{}',
    current_step bigint default 0,
    total_steps bigint,
    current_epoch double precision default 0,
    started_at timestamptz,
    completed_at timestamptz,
    estimated_completion_at timestamptz,
    estimated_cost_usd double precision,
    actual_cost_usd double precision,
    gpu_hours double precision,
    lora_artifact_path text,
    training_log_path text,
    error_message text,
    retry_count integer not null default 0,
    created_by uuid default auth.uid() references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table if not exists public.model_artifacts (
    id uuid primary key default gen_random_uuid(),
    training_job_id uuid not null references public.training_jobs (id) on delete restrict,
    artifact_type text not null,
    storage_path text not null,
    file_size_bytes bigint,
    base_model text,
    lora_config jsonb default '{}',
    validation_loss double precision,
    validation_perplexity double precision,
    human_eval_score double precision,
    deployment_status text not null default 'stored',
    deployed_at timestamptz,
    created_at timestamptz not null default now(),
    created_by uuid default auth.uid() references auth.users (id) on delete set null
);

create table if not exists public.training_metrics_history (
    id uuid primary key default gen_random_uuid(),
    training_job_id uuid not null references public.training_jobs (id) on delete cascade,
    step bigint not null,
    epoch double precision,
    loss double precision,
    learning_rate double precision,
    grad_norm double precision,
    recorded_at timestamptz not null default now()
);

-- Columns of our own, and wide types where the tables stood already: epoch 100, a learning rate of
-- 4e-9 and a gradient norm of 12345.6 are all real.
alter table public.training_jobs
    add column if not exists brightrun_job_id text,
    add column if not exists name text,
    add column if not exists notes text,
    add column if not exists tags jsonb not null default '[]',
    add column if not exists host text,
    add column if not exists activity text,
    add column if not exists stop_reason text,
    add column if not exists attempt integer,
    add column if not exists base_model text,
    add column if not exists eval_loss double precision,
    add column if not exists eval_perplexity double precision,
    add column if not exists source_updated_at timestamptz,
    alter column current_step type bigint,
    alter column total_steps type bigint,
    alter column current_epoch type double precision,
    alter column estimated_cost_usd type double precision,
    alter column actual_cost_usd type double precision,
    alter column gpu_hours type double precision,
    alter column training_file_id drop not null,
    alter column created_by drop not null,
    alter column created_by set default auth.uid();
comment on table public.training_jobs is
    'brightrun: one row a job; source_updated_at is the age of what the row says';

alter table public.model_artifacts
    add column if not exists attempt integer,
    add column if not exists step bigint,
    add column if not exists sha256 text,
    add column if not exists manifest_sha256 text,
    add column if not exists base_model_revision text,
    add column if not exists name text,
    add column if not exists version integer,
    add column if not exists updated_at timestamptz not null default now(),
    alter column file_size_bytes type bigint,
    alter column validation_loss type double precision,
    alter column validation_perplexity type double precision,
    alter column human_eval_score type double precision,
    alter column created_by drop not null,
    alter column created_by set default auth.uid();
comment on table public.model_artifacts is
    'brightrun: one row a stored file; storage_path is its name in the bucket model-artifacts';

alter table public.training_metrics_history
    add column if not exists attempt integer not null default 1,
    add column if not exists eval_loss double precision,
    add column if not exists tokens bigint,
    add column if not exists is_finite boolean not null default true,
    alter column step type bigint,
    alter column epoch type double precision,
    alter column loss type double precision,
    alter column learning_rate type double precision,
    alter column grad_norm type double precision;
comment on table public.training_metrics_history is
    'brightrun: one row a reported step; is_finite is false where a figure was NaN or infinite';

-- 3. Constraints and indexes ---------------------------------------------------------------------

do $$
declare
    rule record;
begin
    for rule in
        select * from (values
            ('training_jobs', 'brightrun_training_jobs_status',
                'check (status in (''queued'', ''preprocessing'', ''model_loaded'', ''training'', '
                '''completed'', ''failed'', ''cancelled''))'),
            ('model_artifacts', 'brightrun_model_artifacts_type',
                'check (artifact_type in (''lora_adapter'', ''merged_model'', ''checkpoint''))'),
            ('model_artifacts', 'brightrun_model_artifacts_deployment',
                'check (deployment_status in (''stored'', ''testing'', ''production'', ''archived''))'),
            ('model_artifacts', 'brightrun_model_artifacts_sha256',
                'check (sha256 ~ ''^[0-9a-f]{64}$'')'),
            ('model_artifacts', 'brightrun_model_artifacts_size', 'check (file_size_bytes >= 0)'),
            -- Nobody can take the name of a file of someone else's job.
            ('model_artifacts', 'brightrun_model_artifacts_place',
                'check (starts_with(storage_path, ''jobs/'' || training_job_id || ''/''))'),
            ('model_artifacts', 'brightrun_model_artifacts_path', 'unique (storage_path)'),
            ('training_metrics_history', 'brightrun_metrics_step',
                'unique (training_job_id, attempt, step)')
        ) as rules (table_name, rule_name, definition)
    loop
        if not exists (
            select from pg_constraint
            where conname = rule.rule_name
                and conrelid = to_regclass(format('public.%I', rule.table_name))
        ) then
            execute format(
                'alter table public.%I add constraint %I %s',
                rule.table_name, rule.rule_name, rule.definition
            );
        end if;
    end loop;
end
$$;

create index if not exists brightrun_training_jobs_owner
    on public.training_jobs (created_by, created_at desc);
create index if not exists brightrun_training_jobs_file on public.training_jobs (training_file_id);
create index if not exists brightrun_training_jobs_open on public.training_jobs (status)
    where status not in ('completed', 'failed', 'cancelled');
create index if not exists brightrun_training_jobs_job on public.training_jobs (brightrun_job_id);
create index if not exists brightrun_model_artifacts_job
    on public.model_artifacts (training_job_id);
create index if not exists brightrun_model_artifacts_owner
    on public.model_artifacts (created_by, created_at desc);

-- 4. updated_at, and a final status stays final --------------------------------------------------

create or replace function public.brightrun_touch() returns trigger
language plpgsql security invoker set search_path = '' as $$
begin
    new.updated_at := now();
    return new;
end
$$;

-- A write that comes late is not an error: raising would turn away the whole batch it came in, again
-- and again. The row stays as it was, and the answer shows the writer what holds.
create or replace function public.brightrun_keep_final() returns trigger
language plpgsql security invoker set search_path = '' as $$
begin
    if old.status in ('completed', 'failed', 'cancelled')
        and new.status is distinct from old.status then
        return old;
    end if;
    if new.source_updated_at < old.source_updated_at then
        return old;
    end if;
    new.updated_at := now();
    return new;
end
$$;

drop trigger if exists brightrun_keep_final on public.training_jobs;
create trigger brightrun_keep_final before update on public.training_jobs
    for each row execute function public.brightrun_keep_final();
drop trigger if exists brightrun_touch on public.model_artifacts;
create trigger brightrun_touch before update on public.model_artifacts
    for each row execute function public.brightrun_touch();

-- 5. Who may do what -----------------------------------------------------------------------------

-- Not `security definer`: they ask as the user, so that row level security answers as well.
create or replace function public.brightrun_owns_job(job text) returns boolean
language sql stable security invoker set search_path = '' as $$
    select exists (
        select from public.training_jobs
        where id = case
                when job ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then job::uuid
            end
            and created_by = auth.uid()
    )
$$;

do $$
declare
    ours boolean := coalesce(
        obj_description('public.training_files'::regclass) like 'brightrun:%', false
    );
    has_owner boolean := exists (
        select from pg_attribute
        where attrelid = 'public.training_files'::regclass and attname = 'created_by'
            and not attisdropped
    );
begin
    if ours then
        drop trigger if exists brightrun_touch on public.training_files;
        create trigger brightrun_touch before update on public.training_files
            for each row execute function public.brightrun_touch();
        alter table public.training_files enable row level security;
        revoke all on public.training_files from public, anon, authenticated;
        grant select, insert, update, delete on public.training_files to authenticated, service_role;
        drop policy if exists brightrun_owner on public.training_files;
        create policy brightrun_owner on public.training_files for all to authenticated
            using (created_by = (select auth.uid()))
            with check (created_by = (select auth.uid()));
    end if;
    if has_owner then
        create or replace function public.brightrun_owns_file(file text) returns boolean
        language sql stable security invoker set search_path = '' as $body$
            select exists (
                select from public.training_files
                where id = case
                        when file ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then file::uuid
                    end
                    and created_by = auth.uid()
            )
        $body$;
    else
        create or replace function public.brightrun_owns_file(file text) returns boolean
        language sql stable security invoker set search_path = '' as $body$ select false $body$;
    end if;
end
$$;

alter table public.training_jobs enable row level security;
alter table public.model_artifacts enable row level security;
alter table public.training_metrics_history enable row level security;

-- A project gives every new table to everybody, anon and TRUNCATE included.
revoke all on public.training_jobs, public.model_artifacts, public.training_metrics_history
    from public, anon, authenticated;
grant select, insert, update, delete
    on public.training_jobs, public.model_artifacts, public.training_metrics_history
    to authenticated, service_role;

drop policy if exists brightrun_owner on public.training_jobs;
create policy brightrun_owner on public.training_jobs for all to authenticated
    using (created_by = (select auth.uid()))
    with check (
        created_by = (select auth.uid())
        -- A file that the user cannot see is no file of theirs.
        and (training_file_id is null or exists (
            select from public.training_files as file where file.id = training_file_id
        ))
    );

drop policy if exists brightrun_owner on public.model_artifacts;
create policy brightrun_owner on public.model_artifacts for all to authenticated
    using (created_by = (select auth.uid()))
    with check (
        created_by = (select auth.uid())
        and exists (
            select from public.training_jobs as job
            where job.id = training_job_id and job.created_by = (select auth.uid())
        )
    );

drop policy if exists brightrun_owner on public.training_metrics_history;
create policy brightrun_owner on public.training_metrics_history for all to authenticated
    using (exists (
        select from public.training_jobs as job
        where job.id = training_job_id and job.created_by = (select auth.uid())
    ))
    with check (exists (
        select from public.training_jobs as job
        where job.id = training_job_id and job.created_by = (select auth.uid())
    ));

-- Policies add up: one of somebody else's can let in whom these keep out.
do $$
declare
    other record;
begin
    for other in
        select polrelid::regclass as table_name, polname from pg_policy
        where polname <> 'brightrun_owner' and polrelid in (
            'public.training_jobs'::regclass, 'public.model_artifacts'::regclass,
            'public.training_metrics_history'::regclass
        )
    loop
        raise warning 'table % has another policy, "%": it may let more people in than the owner',
            other.table_name, other.polname;
    end loop;
end
$$;

-- 6. Storage -------------------------------------------------------------------------------------

insert into storage.buckets (id, name, public)
values ('model-artifacts', 'model-artifacts', false), ('training-files', 'training-files', false)
on conflict (id) do nothing;
do $$
begin
    update storage.buckets set public = false where id = 'model-artifacts' and public;
    if found then
        raise warning 'the bucket model-artifacts was public: it is private now';
    end if;
end
$$;

-- Everybody signed in may read how large a file may be, before training one.
drop policy if exists brightrun_public_buckets_select on storage.buckets;
create policy brightrun_public_buckets_select on storage.buckets for select to authenticated
    using (id in ('model-artifacts', 'training-files'));

drop policy if exists brightrun_public_artifacts_select on storage.objects;
create policy brightrun_public_artifacts_select on storage.objects for select to authenticated
    using (
        bucket_id = 'model-artifacts' and (storage.foldername(name))[1] = 'jobs'
        and public.brightrun_owns_job((storage.foldername(name))[2])
    );
drop policy if exists brightrun_public_artifacts_insert on storage.objects;
create policy brightrun_public_artifacts_insert on storage.objects for insert to authenticated
    with check (
        bucket_id = 'model-artifacts' and (storage.foldername(name))[1] = 'jobs'
        and public.brightrun_owns_job((storage.foldername(name))[2])
    );
drop policy if exists brightrun_public_artifacts_update on storage.objects;
create policy brightrun_public_artifacts_update on storage.objects for update to authenticated
    using (
        bucket_id = 'model-artifacts' and (storage.foldername(name))[1] = 'jobs'
        and public.brightrun_owns_job((storage.foldername(name))[2])
    )
    with check (
        bucket_id = 'model-artifacts' and (storage.foldername(name))[1] = 'jobs'
        and public.brightrun_owns_job((storage.foldername(name))[2])
    );
drop policy if exists brightrun_public_artifacts_delete on storage.objects;
create policy brightrun_public_artifacts_delete on storage.objects for delete to authenticated
    using (
        bucket_id = 'model-artifacts' and (storage.foldername(name))[1] = 'jobs'
        and public.brightrun_owns_job((storage.foldername(name))[2])
    );

drop policy if exists brightrun_public_files_select on storage.objects;
create policy brightrun_public_files_select on storage.objects for select to authenticated
    using (
        bucket_id = 'training-files'
        and public.brightrun_owns_file((storage.foldername(name))[1])
    );
drop policy if exists brightrun_public_files_insert on storage.objects;
create policy brightrun_public_files_insert on storage.objects for insert to authenticated
    with check (
        bucket_id = 'training-files'
        and public.brightrun_owns_file((storage.foldername(name))[1])
    );
drop policy if exists brightrun_public_files_update on storage.objects;
create policy brightrun_public_files_update on storage.objects for update to authenticated
    using (
        bucket_id = 'training-files'
        and public.brightrun_owns_file((storage.foldername(name))[1])
    )
    with check (
        bucket_id = 'training-files'
        and public.brightrun_owns_file((storage.foldername(name))[1])
    );
drop policy if exists brightrun_public_files_delete on storage.objects;
create policy brightrun_public_files_delete on storage.objects for delete to authenticated
    using (
        bucket_id = 'training-files'
        and public.brightrun_owns_file((storage.foldername(name))[1])
    );

-- 7. What `brightrun supabase status` and `doctor` ask -------------------------------------------

-- The shape of the schema and nothing of its rows.
create or replace function public.brightrun_schema() returns jsonb
language sql stable security invoker set search_path = '' as $$
    select jsonb_build_object(
        'version', 1,
        'now', now(),
        'tables', (
            select jsonb_object_agg(c.relname, jsonb_build_object(
                'rls', c.relrowsecurity,
                'anon', exists (
                    select from pg_catalog.unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as r
                    where pg_catalog.has_table_privilege('anon', c.oid, r)
                ),
                'policies', (
                    select coalesce(jsonb_agg(p.polname order by p.polname), '[]')
                    from pg_catalog.pg_policy as p where p.polrelid = c.oid
                )
            ))
            from pg_catalog.pg_class as c
            where c.oid in (
                'public.training_files'::regclass, 'public.training_jobs'::regclass,
                'public.model_artifacts'::regclass, 'public.training_metrics_history'::regclass
            )
        )
    )
$$;

revoke all on function
    public.brightrun_touch(), public.brightrun_keep_final(), public.brightrun_owns_job(text),
    public.brightrun_owns_file(text), public.brightrun_schema()
    from public, anon;
grant execute on function
    public.brightrun_owns_job(text), public.brightrun_owns_file(text), public.brightrun_schema()
    to authenticated, service_role;

notify pgrst, 'reload schema';
