#!/bin/sh
# build.sh DIRECTORY VERSION: build the stand-in as DIRECTORY/debian/<architecture>/VERSION/amazon-cloudwatch-agent.deb and sign
# it. The key is made once for a DIRECTORY; it lies in assets/, as the vendor's does, and its fingerprint in fingerprint.
set -eu
source=$(dirname "$0")
directory=$1
version=$2
target=$directory/debian/$(dpkg --print-architecture)/$version
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

agent=$tree/opt/aws/amazon-cloudwatch-agent
install -d "$tree/DEBIAN" "$agent/etc/amazon-cloudwatch-agent.d" "$target" "$directory/assets"
install -D -m 755 "$source/amazon-cloudwatch-agent-ctl" "$agent/bin/amazon-cloudwatch-agent-ctl"
install -D -m 755 "$source/amazon-cloudwatch-agent" "$agent/bin/amazon-cloudwatch-agent"
install -D -m 644 "$source/amazon-cloudwatch-agent-schema.json" "$agent/doc/amazon-cloudwatch-agent-schema.json"
install -D -m 644 "$source/amazon-cloudwatch-agent.service" "$tree/etc/systemd/system/amazon-cloudwatch-agent.service"
echo '# Nothing is set.' >"$agent/etc/common-config.toml"
echo /opt/aws/amazon-cloudwatch-agent/etc/common-config.toml >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/control" <<EOF
Package: amazon-cloudwatch-agent
Version: $version-1
Architecture: all
Maintainer: The sandbox <nobody@sandbox.internal>
Depends: python3-jsonschema
Description: Stand-in for the CloudWatch agent
 It has the paths and verbs of the vendor's package, and sends nothing.
EOF
dpkg-deb --root-owner-group --build "$tree" "$target/amazon-cloudwatch-agent.deb" >&2

GNUPGHOME=$directory/keyring
export GNUPGHOME
if [ ! -d "$GNUPGHOME" ]; then
  apt-get update >&2
  apt-get install --yes --no-install-recommends gpg gpg-agent gpgconf >&2
  install -d -m 700 "$GNUPGHOME"
  gpg --batch --quiet --passphrase '' --quick-generate-key 'Stand-in for the CloudWatch agent' rsa3072 sign never
  gpg --batch --armor --export >"$directory/assets/amazon-cloudwatch-agent.gpg"
  gpg --batch --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }' >"$directory/fingerprint"
fi
gpg --batch --yes --detach-sign --output "$target/amazon-cloudwatch-agent.deb.sig" "$target/amazon-cloudwatch-agent.deb"
gpgconf --kill gpg-agent
# The agent wants to know where its credentials are; the stand-in for AWS takes any.
printf '[default]\naws_access_key_id = sandbox\naws_secret_access_key = sandbox\n' >"$directory/credentials"
