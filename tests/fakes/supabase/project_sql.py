"""SQL with which the rig makes its project, empties it, and sees whether a test has changed it."""

from pathlib import Path

STUB = (Path(__file__).parent / "stub.sql").read_text()
PUBLIC_SCHEMA = (Path(__file__).parent / "public_schema.sql").read_text()

FINGERPRINT = """
select md5(string_agg(line, E'\\n' order by line)) as mark from (
    select concat_ws('|', table_schema, table_name, column_name, data_type, is_nullable,
                     column_default) as line
    from information_schema.columns where table_schema in ('public', 'brightrun')
    union all select concat_ws('|', schemaname, tablename, policyname, roles, cmd, qual, with_check)
    from pg_policies
    union all select concat_ws('|', n.nspname, p.proname, p.prosrc, p.proacl)
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('public', 'brightrun')
    union all select concat_ws('|', n.nspname, c.relname, c.relrowsecurity, c.relacl)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'brightrun')
    union all select concat_ws('|', conrelid::regclass, conname, pg_get_constraintdef(oid))
    from pg_constraint where connamespace = 'public'::regnamespace
    union all select concat_ws('|', tgrelid::regclass, tgname, tgenabled) from pg_trigger
    where not tgisinternal
    union all select concat_ws('|', id, public, file_size_limit, allowed_mime_types)
    from storage.buckets
) as lines
"""
"""One row, `mark`: another value where anything of the schema is another."""

BARE = """
do $$
declare
    policy record;
begin
    for policy in select tablename, policyname from pg_policies where schemaname = 'storage' loop
        execute format('drop policy %I on storage.%I', policy.policyname, policy.tablename);
    end loop;
end
$$;
delete from storage.buckets;
drop schema if exists brightrun cascade;
drop schema public cascade;
create schema public authorization pg_database_owner;
"""

EMPTY = """
truncate public.training_metrics_history, public.model_artifacts, public.training_jobs,
    public.training_files
"""
