#!/usr/bin/env bash
# Build the image of the steps from the commit that is checked out: build.sh [TAG], kiban-pipeline:latest without it.
# It is built from a clean clone of that commit alone: nothing of the working tree, of history or of a branch is in it.
#
#   ENGINE     docker, podman or buildah; the first of them that is there
#   OPTIONS    more options of its `build`, such as --platform linux/amd64, or --build-arg ACCOUNT=root for SageMaker
set -euo pipefail
engine=${ENGINE:-$(command -v docker podman buildah | head -n 1 || true)}
case "${1:-}" in -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;; esac
command -v "$engine" > /dev/null || { echo "error: docker, podman or buildah is needed, and none is there" >&2; exit 1; }
cd "$(dirname "$0")/../.."
top=$(git rev-parse --show-toplevel)
project=$(git rev-parse --show-prefix)
git diff --quiet HEAD -- . || echo "build.sh: what is changed and not committed is not in the image" >&2

clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git init --quiet "$clone"
git -C "$clone" fetch --quiet --depth 1 "file://$top" HEAD
git -C "$clone" checkout --quiet --detach FETCH_HEAD
rm -r "$clone/.git/FETCH_HEAD" "$clone/.git/logs" # they have the path of this machine
# shellcheck disable=SC2086 # OPTIONS are words
"$engine" build ${OPTIONS:-} --build-arg "PROJECT=${project:-.}" -f "$clone/${project}runners/image/Containerfile" \
    -t "${1:-kiban-pipeline:latest}" "$clone"
