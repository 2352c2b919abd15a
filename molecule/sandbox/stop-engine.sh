#!/bin/sh
# Stops the dockerd that start-engine.sh started: `stop-engine.sh DIRECTORY`.
set -eu
pid=$(cat "$1/dockerd.pid")

# The number may be another program's by now. One that has ended, and that no init system reaps, has no `exe`.
runs() {
  case $(readlink "/proc/$pid/exe") in
    */dockerd*) ;;
    *) false ;;
  esac
}

if runs; then
  kill "$pid"
  for _ in $(seq 50); do
    runs || break
    sleep 0.2
  done
  if runs; then
    echo "dockerd ($pid) did not end within 10 seconds." >&2
    exit 1
  fi
fi
rm -f "$1/dockerd.pid" "$1/dockerd.log"
