-- Dumps the database to /backup/dump and says what is in it, both as of one moment: pg_dump sees this transaction's snapshot.
-- The file gets its name only when pg_dump has ended well.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot() AS snapshot \gset
\setenv SNAPSHOT :snapshot
\! pg_dump --snapshot="$SNAPSHOT" --format=custom --compress=zstd --no-owner --no-acl --lock-wait-timeout=10s --file=/backup/part && mv /backup/part /backup/dump
\ir describe.sql
COMMIT;
