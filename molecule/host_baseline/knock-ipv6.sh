#!/bin/bash
# Tries the host's doors over IPv6, from a network namespace that is linked to it: nobody stands behind 80, so what the firewall
# lets through is refused at once (Connection refused), and what it drops is not (time out).
set -euo pipefail
trap 'ip netns delete world 2>/dev/null || true; ip link delete to-world 2>/dev/null || true' EXIT
ip netns add world
ip link add to-world type veth peer name eth0 netns world
sysctl --quiet --write net.ipv6.conf.to-world.disable_ipv6=0
ip -6 address add 2001:db8::1/64 dev to-world nodad
ip link set to-world up
ip netns exec world sh -euc '
  ip -6 address add 2001:db8::2/64 dev eth0 nodad
  ip link set eth0 up'

connect() {
  ip netns exec world timeout 2 bash -c "exec 3<>/dev/tcp/2001:db8::1/$1" 2>&1 || [ $? -ne 124 ] || echo 'no answer'
}
grep -q 'Connection refused' <<<"$(connect 80)" || { echo "80 is shut: $(connect 80)"; exit 1; }
for port in 22 8000; do
  [ "$(connect "$port")" = 'no answer' ] || { echo "$port is open: $(connect "$port")"; exit 1; }
done
