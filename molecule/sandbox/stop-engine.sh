#!/bin/sh
# Stops the dockerd that start-engine.sh started: `stop-engine.sh DIRECTORY`.
set -eu
pid=$(cat "$1/dockerd.pid")
# The number may be another program's by now.
if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
  kill "$pid"
  for _ in $(seq 50); do
    [ -d "/proc/$pid" ] || break
    sleep 0.2
  done
  if [ -d "/proc/$pid" ]; then
    echo "dockerd ($pid) did not end within 10 seconds." >&2
    exit 1
  fi
fi
rm -f "$1/dockerd.pid" "$1/dockerd.log"
