#!/bin/sh
# For machines without an init system and with cgroup v1. The systemd in a sandbox's host mounts, for itself alone, the
# controllers that nobody had mounted; from then on the engine on this machine cannot find those of its new containers and
# accounts none of them (`docker stats` shows zeros). Mounted here before, they are everybody's. Prints what it mounts.
set -eu
cd /sys/fs/cgroup
[ "$(stat --file-system --format %T .)" = tmpfs ] || exit 0
for controllers in perf_event hugetlb net_cls,net_prio; do
  if mountpoint -q "$controllers" || ! grep -qw "${controllers%,*}" /proc/cgroups; then
    continue
  fi
  if [ ! -d "$controllers" ]; then
    mount -o remount,rw .
    mkdir "$controllers"
  fi
  mount -t cgroup -o "$controllers" cgroup "$controllers"
  echo "$controllers"
done
