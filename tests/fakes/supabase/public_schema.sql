-- The schema public as a project has it; made again where a test has changed it.

grant all on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;
-- A project grants every new table to everybody; row level security is all that stands between.
alter default privileges for role postgres in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to anon, authenticated, service_role;
