#!/bin/sh
# Starts dockerd where no init system does: `start-engine.sh DIRECTORY`. Its number and its output go to
# DIRECTORY/dockerd.pid and DIRECTORY/dockerd.log; it outlives the caller and holds none of the caller's streams.
set -eu
mkdir -p "$1"
# Left by an engine that was killed, this file keeps the next one from starting, even when the number is another program's
# now. One that has ended, and that no init system reaps, has no `exe`.
stale=/var/run/docker.pid
if [ -f "$stale" ]; then
  case $(readlink "/proc/$(cat "$stale")/exe") in
    */dockerd*) ;;
    *) rm -f "$stale" ;;
  esac
fi
setsid nohup dockerd </dev/null >>"$1/dockerd.log" 2>&1 &
echo $! >"$1/dockerd.pid"
