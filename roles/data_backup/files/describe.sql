-- Says what is in a database, one line of JSON for the whole and one for each table. Two databases that say the same hold the
-- same rows: the checksum is the sum of each row's own, so it does not depend on their order, and needs no memory.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
SELECT json_build_object('database', current_database(), 'server_version', current_setting('server_version'),
                         'schema_head', (SELECT max(version_num) FROM alembic_version));
SELECT format(
  $$SELECT json_build_object('table', %L, 'rows', count(*), 'checksum',
      coalesce(sum(('x' || left(md5(one::text), 16))::bit(64)::bigint), 0)::text) FROM public.%I AS one$$, tablename, tablename)
FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename
\gexec
