# Sourced by check and test. `step "what it is" command [argument…]` runs one step and says how long it took; the first that
# fails ends the whole, with the command that repeats it alone. `finish` says the whole time. Where a step has no need of
# those before it, `begin` starts it beside them; what it said is shown before the step that comes after its end, and `await` waits
# for all that was begun.
set -uo pipefail
begun_pids=() begun_outputs=()
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
  local name=$1 begun=$SECONDS other status log
  # Who waits for the end of a long step should not have waited for one that failed long ago.
  for other in "${!begun_pids[@]}"; do
    kill -0 "${begun_pids[other]}" 2>/dev/null || tell "$other"
  done
  shift
  printf '\n→ %s\n' "$name"
  # Molecule's last lines name a playbook alone; why it failed stands far above them, and here.
  log=$(mktemp)
  ANSIBLE_LOG_PATH=$log "$@" </dev/null
  status=$?
  if [ "$status" -ne 0 ] && grep -q 'fatal: ' "$log"; then
    printf '\nThe last task that failed:\n' >&2
    grep -A 14 'fatal: ' "$log" | tail -15 | cut -c -2000 >&2
  fi
  rm -f "$log"
  judge "$status" "$name" "$begun" "$@"
}

begin() {
  local output
  output=$(mktemp)
  printf '\n→ %s (beside the next ones; what it says comes at its end)\n' "$1"
  # With job control it has a process group of its own, which is ended with all that it started when another step fails.
  set -m
  (trap - EXIT && begun_pids=() && step "$@") >"$output" 2>&1 &
  set +m
  begun_pids+=("$!") begun_outputs+=("$output")
  trap 'for pid in "${begun_pids[@]}"; do kill -- "-$pid" 2>/dev/null; done; rm -f "${begun_outputs[@]}"' EXIT
}

await() {
  local begun
  for begun in "${!begun_pids[@]}"; do
    tell "$begun"
  done
}

tell() {
  local status
  wait "${begun_pids[$1]}"
  status=$?
  cat "${begun_outputs[$1]}"
  unset "begun_pids[$1]"
  [ "$status" -eq 0 ] || exit "$status"
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
