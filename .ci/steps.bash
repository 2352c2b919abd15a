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

# `sandbox NAME DIGIT`: unless SANDBOX_NAME names one that is there, one of its own, whose ports begin with the digit, with the stack in
# it; whatever happens from here on, nothing of it stays.
sandbox() {
  [ -z "${SANDBOX_NAME:-}" ] || return 0
  local playbook=(ansible-playbook --inventory inventory/sandbox)
  export SANDBOX_NAME=$1 SANDBOX_PAGE_PORT=${2}8080 SANDBOX_TLS_PORT=${2}8443 SANDBOX_API_PORT=${2}8000 SANDBOX_HEALTH_PORT=${2}8501 \
    SANDBOX_FLOWER_PORT=${2}5555 SANDBOX_MAILBOX_PORT=${2}8025 SANDBOX_AWS_PORT=${2}5000 SANDBOX_SSH_PORT=${2}2222
  step "A sandbox of its own" "${playbook[@]}" molecule/sandbox/create.yml
  trap 'ansible-playbook --inventory inventory/sandbox molecule/sandbox/destroy.yml </dev/null >/dev/null' EXIT
  step "site.yml" "${playbook[@]}" site.yml
}

finish() {
  printf '\n✓ %s passed in %d:%02d minutes.\n' "$1" $((SECONDS / 60)) $((SECONDS % 60))
}
