# Sourced by check and test. `step "what it is" command [argument…]` runs one step and says how long it took; the first that
# fails ends the whole, with the command that repeats it alone. `finish` says the whole time.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
  local name=$1 begun=$SECONDS status
  shift
  printf '\n→ %s\n' "$name"
  "$@" </dev/null
  status=$?
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
