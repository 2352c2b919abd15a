#!/bin/sh
# Starts dockerd where no init system does: `start-engine.sh DIRECTORY`. Its number and its output go to
# DIRECTORY/dockerd.pid and DIRECTORY/dockerd.log; it outlives the caller and holds none of the caller's streams.
set -eu
mkdir -p "$1"
# Left by an engine that was killed, these files keep the next one from starting, even when the number is another program's
# now. One that has ended, and that no init system reaps, has no `exe`.
for stale in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
  [ -f "$stale" ] || continue
  case $(readlink "/proc/$(cat "$stale")/exe") in
    */dockerd* | */containerd*) ;;
    *) rm -f "$stale" ;;
  esac
done
setsid nohup dockerd </dev/null >>"$1/dockerd.log" 2>&1 &
echo $! >"$1/dockerd.pid"
