# Sourced by check and test. `step "what it is" command [argument…]` runs one step and says how long it took; the first that
# fails ends the whole, with the command that repeats it alone. `finish` says the whole time. Where a step has no need of
# those before it, `begin` starts it beside them and `await` waits for it and shows what it said.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
  local name=$1 begun=$SECONDS
  shift
  printf '\n→ %s\n' "$name"
  "$@" </dev/null
  judge $? "$name" "$begun" "$@"
}

begin() {
  begun_name=$1 begun_at=$SECONDS begun_output=$(mktemp)
  shift
  begun_command=("$@")
  printf '\n→ %s (beside the next ones; what it says comes at its end)\n' "$begun_name"
  # With job control it has a process group of its own, which is ended with all that it started when another step fails.
  set -m
  "$@" </dev/null >"$begun_output" 2>&1 &
  set +m
  begun_pid=$!
  trap 'kill -- "-$begun_pid" 2>/dev/null; rm -f "$begun_output"' EXIT
}

await() {
  local status
  printf '\n→ %s\n' "$begun_name"
  wait "$begun_pid"
  status=$?
  cat "$begun_output"
  judge "$status" "$begun_name" "$begun_at" "${begun_command[@]}"
}

judge() {
  local status=$1 name=$2 begun=$3
  shift 3
  if [ "$status" -ne 0 ]; then
    printf '\n✗ %s: failed after %d s, %d s in all. To repeat it alone:\n  PATH=%s/bin:$PATH %s\n' \
      "$name" $((SECONDS - begun)) "$SECONDS" "${VENV:-.venv}" "$*" >&2
    exit "$status"
  fi
  printf '✓ %s: %d s\n' "$name" $((SECONDS - begun))
}

finish() {
  printf '\n✓ %s passed in %d:%02d minutes.\n' "$1" $((SECONDS / 60)) $((SECONDS % 60))
}
