# Runs in `database-client`, for databases that stand beside the application's, <name>:
#   restore.sh load SUFFIX   makes <name>_SUFFIX, fills it from /backup/dump, and says what is in it
#   restore.sh drop SUFFIX   removes it
#   restore.sh swap MOMENT   <name>_restored becomes <name>, and what was <name> becomes <name>_before_MOMENT
set -eu
verb=$1 beside=${PGDATABASE}_${2:?}
psql="psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1"
# Not that something was not there to be dropped, nor which tables of the server's own only its administrator may analyze.
export PGOPTIONS='-c client_min_messages=error'

drop() {
  dropdb --maintenance-db=postgres --if-exists --force "$beside"
}

# Nobody has a right to it but who made it: `migrate` gives the application its own.
load() {
  may=$($psql --tuples-only --no-align --command='SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user')
  if [ "$may" != t ]; then
    echo "$PGUSER may not create databases. Say once, as the server's master user: ALTER ROLE $PGUSER CREATEDB" >&2
    echo "(instructions.md, \"Back up and restore\", has the command)." >&2
    exit 1
  fi
  # An attempt that was broken off may have left one.
  drop
  createdb --maintenance-db=postgres --template=template0 "$beside"
  pg_restore --no-owner --no-acl --exit-on-error --single-transaction --dbname="$beside" /backup/dump
  # The server does not know yet which plans are good for these tables.
  $psql --dbname="$beside" --command=ANALYZE
  $psql --tuples-only --no-align --dbname="$beside" --file=/scripts/describe.sql
}

# Both names, or neither. The server refuses while anybody is connected to one of them, so it is said who is.
swap() {
  kept=${PGDATABASE}_before_$1
  $psql --dbname=postgres --set=live="$PGDATABASE" --set=restored="${PGDATABASE}_restored" --set=kept="$kept" >&2 <<'END'
\echo Connected to them:
SELECT usename, application_name, backend_start::timestamp(0) FROM pg_stat_activity WHERE datname IN (:'live', :'restored');
BEGIN;
ALTER DATABASE :"live" RENAME TO :"kept";
ALTER DATABASE :"restored" RENAME TO :"live";
COMMIT;
END
  echo "$kept"
}

case $verb in
  load) load ;;
  drop) drop ;;
  swap) swap "$2" ;;
esac
