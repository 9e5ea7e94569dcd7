#!/usr/bin/env bash
# One training session on a machine with a GPU, from a packed corpus to weights brought back.
#
#     bash calibrate/session.sh PACK SQUEEZENET.npz RUN OUT MINUTES [more options of calibrate.train]
#
# PACK comes from `python -m calibrate.pack pack`. RUN is the run's folder: with a checkpoint in it
# the run goes on exactly; else it starts from the shipped weights of its tier, if there are any.
# OUT receives weights, log, preview and the checkpoint in parts.
set -euo pipefail
pack=$1 squeezenet=$2 run=$3 out=$4 minutes=$5
shift 5
cache=${CACHE:-/tmp/puppet-cache}
python=${PYTHON:-python3}
tier=small
for option in "$@"; do [ "${previous:-}" = --tier ] && tier=$option; previous=$option; done

"$python" -m calibrate.pack unpack "$pack" --out "$cache"
start=()
shipped=engines/data/$tier.safetensors
mkdir -p "$run"
[ -f "$run/checkpoint.pt" ] || [ ! -f "$shipped" ] || start=(--start-from "$shipped")
gpus=$("$python" -c 'import torch; print(max(1, torch.cuda.device_count()))')
workers=$((($(nproc) - 1) / gpus))
"$python" -m torch.distributed.run --nproc_per_node "$gpus" -m calibrate.train \
    --cache "$cache/train" --stills "$cache/portraits" --squeezenet "$squeezenet" --out "$run" \
    --minutes "$minutes" --workers "$workers" --batch $((32 * gpus)) --quiet --save-minutes 2 \
    "${start[@]}" "$@"
mkdir -p "$out"
cp "$run/weights.safetensors" "$run/log.csv" "$run/preview.png" "$out/"
# In parts, since many ways back bound a file's size; `cat checkpoint.pt.* > checkpoint.pt` joins.
split -b 15M "$run/checkpoint.pt" "$out/checkpoint.pt."
