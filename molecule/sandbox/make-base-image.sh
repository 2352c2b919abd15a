#!/bin/sh
# Makes Debian's minimal base image from its packages: `make-base-image.sh debian:trixie-slim`. Needs root.
set -eu
image=$1
suite=${image#*:}
suite=${suite%-slim}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
debootstrap --variant=minbase "$suite" "$directory"

# debootstrap writes one line, with the mirror that it used. Fixes come from two more suites of the same mirror.
sources=$directory/etc/apt/sources.list
mirror=$(awk '$1 == "deb" {print $2; exit}' "$sources")
cat >>"$sources" <<END
deb $mirror $suite-updates main
deb ${mirror%/}-security $suite-security main
END

# What the published image leaves out, too.
rm -rf "$directory"/var/cache/apt/* "$directory"/var/lib/apt/lists/* "$directory"/var/log/* \
  "$directory"/usr/share/doc/* "$directory"/usr/share/man/* "$directory"/usr/share/locale/*
# These containers have no init system: no package may start a service when it is installed.
printf '#!/bin/sh\nexit 101\n' >"$directory/usr/sbin/policy-rc.d"
chmod +x "$directory/usr/sbin/policy-rc.d"
tar -C "$directory" -c . | docker import --change 'CMD ["bash"]' - "$image"
