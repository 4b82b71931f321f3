#!/usr/bin/env bash
# Run a command, such as `kiban step train`, in a fresh clone. The machines of a run share git's origin and DVC's store:
#
#   KIBAN_REPOSITORY   the address of origin
#   KIBAN_RUN          the run, the same for all of its steps; the job of AWS Batch, Azure ML or Vertex AI without it
#   KIBAN_COMMIT       the commit, tag or branch to begin from; origin's default branch without it
#   KIBAN_PROJECT      the folder of the project in the repository, if it is not the root
#
# `kiban step` reads KIBAN_RUN, KIBAN_OVERRIDES, KIBAN_NEW and KIBAN_UNTIL; keys to the store have their usual variables.
set -eum

: "${KIBAN_REPOSITORY:?is not set: the address of origin}" "${1:?give a command, such as: kiban step train}"

clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$KIBAN_REPOSITORY" "$clone"
cd "$clone"
git config user.email > /dev/null || git config user.email kiban@localhost # of the commits of a cycle
git config user.name > /dev/null || git config user.name kiban

export KIBAN_RUN=${KIBAN_RUN:-${AWS_BATCH_JOB_ID:-${AZUREML_RUN_ID:-${CLOUD_ML_JOB_ID:-}}}}
[ -n "$KIBAN_RUN" ] || unset KIBAN_RUN
base=${KIBAN_COMMIT:+$(git rev-parse --verify --quiet "origin/$KIBAN_COMMIT^{commit}" || git rev-parse --verify "$KIBAN_COMMIT^{commit}")}
if [ -n "${KIBAN_RUN:-}" ]; then # as kiban.runners.refs.name_of; the first step of a run says where the others begin
  run=$(printf %s "${KIBAN_PROJECT:-}/$KIBAN_RUN" | tr -cs 'A-Za-z0-9_' '-' | sed 's/^-//; s/-$//')
  git fetch --quiet origin "+refs/kiban/runs/$run/*:refs/kiban/runs/$run/*"
  begun=$(git for-each-ref --count=1 --format='%(parent)' "refs/kiban/runs/$run")
  base=${begun:-$base}
fi
[ -z "$base" ] || git checkout --quiet --detach "$base"

cd "./${KIBAN_PROJECT:-}"
export PYTHONPATH=src # the clone's code, and not that of the environment
"$@" &
child=$!
trap 'kill -TERM -"$child"' TERM INT # a scheduler ends a step by SIGTERM to this process alone
status=0
wait "$child" || status=$?
while kill -0 -- -"$child" 2> /dev/null; do # it may still be ending
  wait "$child" || true
  sleep 0.1
done
exit "$status"
