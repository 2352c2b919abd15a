#!/bin/sh
# make-bad-packages.sh VERSION: lay out below /srv/bad, one folder a case, downloads that the role must refuse.
set -eu
version=$1
good=/srv/cloudwatch-agent-stand-in
package=debian/$(dpkg --print-architecture)/$version/amazon-cloudwatch-agent.deb

for case in tampered unsigned foreign expired; do
  mkdir -p "/srv/bad/$case"
  cp -r "$good/debian" "$good/assets" "/srv/bad/$case/"
done

# One byte more behind the package: dpkg would still install it.
printf '\n' >>"/srv/bad/tampered/$package"

rm "/srv/bad/unsigned/$package.sig"

# Signed by a stranger, who offers a key of the same name.
export GNUPGHOME=/srv/bad/keyring
install -d -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Stand-in for the CloudWatch agent' rsa3072 sign never
gpg --batch --yes --detach-sign --output "/srv/bad/foreign/$package.sig" "/srv/bad/foreign/$package"
gpg --batch --armor --export >/srv/bad/foreign/assets/amazon-cloudwatch-agent.gpg
# An honest package with a stranger's key only: the key that signed is absent.
mkdir -p /srv/bad/assets
cp /srv/bad/foreign/assets/amazon-cloudwatch-agent.gpg /srv/bad/assets/stranger.gpg
: >/srv/bad/assets/empty.gpg

# Signed by a key that has expired since: gpg calls such a signature valid, and only not good.
export GNUPGHOME=/srv/bad/expired/keyring
install -d -m 700 "$GNUPGHOME"
yesterday=$(date --utc --date '-2 days' +%Y%m%dT%H%M%S)
gpg --batch --quiet --passphrase '' --faked-system-time "$yesterday" --quick-generate-key 'Expired' rsa3072 sign 1d
gpg --batch --yes --faked-system-time "$yesterday" --detach-sign --output "/srv/bad/expired/$package.sig" "/srv/bad/expired/$package"
gpg --batch --armor --export >/srv/bad/expired/assets/amazon-cloudwatch-agent.gpg
gpg --batch --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }' >/srv/bad/expired/fingerprint
