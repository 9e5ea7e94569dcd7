#!/usr/bin/env bash
# One training session on a machine with a GPU, from a packed corpus to weights brought back.
#
#     bash calibrate/session.sh PACK SQUEEZENET.npz RUNS OUT MINUTES TIER [TIER ...]
#
# PACK comes from `python -m calibrate.pack pack`. Every tier trains in a process of its own, all
# at once, since preparing samples takes longer than the small network. RUNS/TIER is a run's
# folder: with a checkpoint in it the run goes on exactly; else it starts from the shipped weights
# of its tier. OUT receives weights, log and preview of each tier. More options of calibrate.train
# go into TRAIN_OPTIONS, for one tier into TRAIN_OPTIONS_small or _base. `base` trains as one network
# here; its members apart: `small` several times with seeds of their own, then calibrate.join.
set -euo pipefail
pack=$1 squeezenet=$2 runs=$3 out=$4 minutes=$5
shift 5
cache=${CACHE:-/tmp/puppet-cache}
python=${PYTHON:-python3}

"$python" -m calibrate.pack unpack "$pack" --out "$cache"
gpus=$("$python" -c 'import torch; print(max(1, torch.cuda.device_count()))')
workers=$((($(nproc) - $#) / ($# * gpus)))
[ "$workers" -ge 1 ] || workers=1

train() {
    local tier=$1 port=$2 start=() run=$runs/$1
    local own=TRAIN_OPTIONS_$tier
    mkdir -p "$run"
    [ -f "$run/checkpoint.pt" ] || start=(--start-from "engines/data/$tier.safetensors")
    # shellcheck disable=SC2086  # options are words
    "$python" -m torch.distributed.run --nproc_per_node "$gpus" --master_port "$port" \
        -m calibrate.train --tier "$tier" --cache "$cache/train" --stills "$cache/portraits" \
        --squeezenet "$squeezenet" --out "$run" --minutes "$minutes" --workers "$workers" \
        --batch $((32 * gpus)) --quiet --save-minutes 2 \
        ${start[@]+"${start[@]}"} ${TRAIN_OPTIONS:-} ${!own:-}
    cp "$run/weights.safetensors" "$out/$tier.safetensors"
    "$python" -m calibrate.ranges "$out/$tier.safetensors" --cache "$cache/train" \
        --stills "$cache/portraits"
    cp "$run/log.csv" "$out/$tier.csv"
    cp "$run/preview.png" "$out/$tier.png"
}

mkdir -p "$out"
running=() port=29600
for tier in "$@"; do
    port=$((port + 1))
    train "$tier" "$port" &
    running+=($!)
done
failed=0
for one in "${running[@]}"; do wait "$one" || failed=1; done
exit "$failed"
