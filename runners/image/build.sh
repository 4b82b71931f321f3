#!/usr/bin/env bash
# Build the image of the steps from the commit that is checked out: build.sh [TAG], kiban-pipeline:latest without it.
# It is built from a clean clone, so that nothing of the working tree is in it: no key, no data, no other branch.
#
#   ENGINE     docker, podman or buildah; the first of them that is there
#   OPTIONS    more options of its `build`, such as --platform linux/amd64, or --build-arg ACCOUNT=root for SageMaker
set -euo pipefail
engine=${ENGINE:-$(command -v docker podman buildah | head -n 1)}
[ -n "$engine" ] || { echo "error: docker, podman or buildah is needed, and none is there" >&2; exit 1; }
cd "$(dirname "$0")/../.."
top=$(git rev-parse --show-toplevel)
project=$(git rev-parse --show-prefix)
git diff --quiet HEAD -- . || echo "build.sh: what is changed and not committed is not in the image" >&2

clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git init --quiet "$clone"
git -C "$clone" fetch --quiet "file://$top" HEAD
git -C "$clone" checkout --quiet --detach FETCH_HEAD
rm "$clone/.git/FETCH_HEAD" # it has the path of this machine
# shellcheck disable=SC2086 # OPTIONS are words
"$engine" build ${OPTIONS:-} --build-arg "PROJECT=${project:-.}" -f "$clone/${project}runners/image/Containerfile" \
    -t "${1:-kiban-pipeline:latest}" "$clone"
