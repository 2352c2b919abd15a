# Prints what the host has, one fact a line, in words that `vars/main.yml` can compare with what it wants:
#   directory MODE OWNER PATH · file MODE OWNER SHA256 PATH · link PATH TARGET · container SERVICE STATE · state JSON
cd "$DIRECTORY" 2>/dev/null || exit 0
find . -path ./sockets -prune -o -type d -printf 'directory %m %U %p\n'
find ./sockets -maxdepth 1 -type d -printf 'directory %m %U %p\n'
find . -type f -size -1024k -exec sh -c '
  for file; do
    printf "file %s %s %s\n" "$(stat -c "%a %u" "$file")" "$(sha256sum <"$file" | cut -c1-64)" "$file"
  done' sh {} +
find . -type l -printf 'link %p %l\n'
if command -v docker >/dev/null; then
  docker ps --all --filter "label=com.docker.compose.project=$PROJECT" \
    --format 'container {{.Label "com.docker.compose.service"}} {{.State}}'
fi
if [ -s state.json ]; then
  printf 'state '
  tr -d '\n' <state.json
  echo
fi
