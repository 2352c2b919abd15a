#!/bin/sh
# release.sh ROOT [TAR]: prints the name of what the checkout at ROOT would release, and writes what the images are built
# from to TAR. The name is the last commit that touched app/ or frontend/ (12 digits), or <commit>-dirty-<8 digits of the
# content> when files there, tracked or not, differ from it. The repository is read and not written.
# Without git there is no name: an error, unless TAR is asked for.
set -eu
root=$1 tar=${2:-}
images=roles/app_release/files
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$root"

if ! commit=$(git log -1 --format=%H -- app frontend) || [ -z "$commit" ]; then
  if [ -n "$tar" ]; then
    tar --exclude=__pycache__ -cf "$tar" app frontend $images
    exit 0
  fi
  echo "git knows no commit of app/ and frontend/ in $root" >&2
  exit 1
fi

# The content as git would commit it now, by an index and an object store of our own.
GIT_ALTERNATE_OBJECT_DIRECTORIES=$(git rev-parse --git-path objects)
GIT_INDEX_FILE=$scratch/index
GIT_OBJECT_DIRECTORY=$scratch/objects
export GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
mkdir "$GIT_OBJECT_DIRECTORY"
git read-tree HEAD
git add --all -- app frontend $images

name=$(printf %.12s "$commit")
if ! git diff --cached --quiet HEAD -- app frontend; then
  name=$name-dirty-$(git ls-files --stage -- app frontend | git hash-object --stdin | cut -c 1-8)
fi
if [ -n "$tar" ]; then
  git -c tar.umask=022 archive --output="$tar" "$(git write-tree)" app frontend $images
fi
echo "$name"
