# Prints what the host has of what it is asked for, one fact a line, in words that a play compares with what it wants:
#   package NAME STATUS VERSION ARCHITECTURE · directory MODE UID GID PATH · file MODE UID GID SHA256 PATH
#   unit NAME ENABLED ACTIVE, and `stale` where systemd has not read its files yet
# PACKAGES, PATHS and UNITS hold names with spaces between. What is not there has no line.
if [ -n "$PACKAGES" ] && command -v dpkg-query >/dev/null; then
  # Its complaint about a name that it has never heard of is an answer, too.
  dpkg-query --show --showformat 'package ${Package} ${db:Status-Status} ${Version} ${Architecture}\n' $PACKAGES 2>/dev/null
fi
for path in $PATHS; do
  # A link is no file of ours, wherever it leads.
  if [ -h "$path" ]; then
    continue
  elif [ -d "$path" ]; then
    stat --format 'directory %a %u %g %n' "$path"
  elif [ -f "$path" ]; then
    echo "file $(stat --format '%a %u %g' "$path") $(sha256sum <"$path" | cut -c 1-64) $path"
  fi
done
if [ -n "$UNITS" ]; then
  systemctl show --property=Id --property=UnitFileState --property=ActiveState --property=NeedDaemonReload $UNITS |
    awk -F = '
      function tell() { if (is["Id"]) print "unit", is["Id"], is["UnitFileState"], is["ActiveState"] (is["NeedDaemonReload"] == "yes" ? " stale" : "") }
      NF == 0 { tell(); delete is }
      { is[$1] = $2 }
      END { tell() }'
fi
