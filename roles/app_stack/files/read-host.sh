# Prints what the host has, one fact a line, in words that `vars/main.yml` can compare with what it wants:
#   clock SECONDS (since 1970) · memory MEBIBYTES · space MEBIBYTES (that are free for DIRECTORY) · listens PORT PROGRAM · image NAME ID
#   directory MODE OWNER PATH · file MODE OWNER SHA256 PATH · link PATH TARGET · state JSON · release JSON
#   container SERVICE STATE, and the same container's publishes PORTS, and runs SERVICE IMAGE INPUTS
date '+clock %s'
awk '$1 == "MemTotal:" { print "memory", int($2 / 1024) }' /proc/meminfo
existing=$DIRECTORY
until [ -d "$existing" ]; do existing=$(dirname "$existing"); done
df -Pk "$existing" | awk 'END { print "space", int($4 / 1024) }'
if command -v ss >/dev/null; then
  ss -Hltnp | awk '{ sub(/.*:/, "", $4); split($6, words, "\""); print "listens", $4, words[2] ? words[2] : "unknown" }'
fi
if command -v docker >/dev/null; then docker images --no-trunc --format 'image {{.Repository}}:{{.Tag}} {{.ID}}'; fi
cd "$DIRECTORY" 2>/dev/null || exit 0
find . -path ./sockets -prune -o -type d -printf 'directory %m %U %p\n'
find ./sockets -maxdepth 1 -type d -printf 'directory %m %U %p\n'
find . -type f -size -1024k -exec sh -c '
  for file; do
    printf "file %s %s %s\n" "$(stat -c "%a %u" "$file")" "$(sha256sum <"$file" | cut -c1-64)" "$file"
  done' sh {} +
find . -type l -printf 'link %p %l\n'
# From here on, an answer that is cut short would be taken for a host that lacks the rest.
set -e
if command -v docker >/dev/null; then
  docker ps --all --filter "label=com.docker.compose.project=$PROJECT" \
    --format 'container {{.Label "com.docker.compose.service"}} {{.State}}\npublishes {{.Ports}}\nruns {{.Label "com.docker.compose.service"}} {{.Image}} {{.Label "steadfast.inputs"}}'
fi
# No container of it runs, so the file is asked.
if [ -s docker-compose.yml ]; then
  awk '/^  database-client:/ { found = 1 } found && $1 == "image:" { print "runs database-client", $2; exit }' docker-compose.yml
fi
for manifest in releases/*.json; do
  [ -s "$manifest" ] || continue
  printf 'release '
  tr -d '\n' <"$manifest"
  echo
done
if [ -s state.json ]; then
  printf 'state '
  tr -d '\n' <state.json
  echo
fi
