#!/usr/bin/env bash
# What SageMaker starts as `train`: one training job, with the commit of the image.
cd "/opt/kiban/$KIBAN_IMAGE_PROJECT"
export PYTHONPATH=src
exec python -m kiban.runners.training
