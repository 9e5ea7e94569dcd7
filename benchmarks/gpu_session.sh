#!/usr/bin/env bash
# What a machine with an NVIDIA GPU shows of the engines, without MediaPipe and without a network:
# the contract tests, parity among them, of every runtime that opens there, then the generator
# timed with both copies, beside the engine alone. What does not open is listed with the reason.
#
#     bash benchmarks/gpu_session.sh OUT
#
# OUT receives contract.txt and engines-gpu.json. Needs numpy, onnx, onnxruntime, opencv,
# safetensors, torch with CUDA, and pytest with pytest-timeout.
set -uo pipefail
out=$1 python=${PYTHON:-python3}
mkdir -p "$out"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || echo "no nvidia-smi here"
"$python" -m pytest -p no:cacheprovider -q tests/test_engines.py -k TestContract \
    2>&1 | tee "$out/contract.txt"
tests=${PIPESTATUS[0]}
"$python" -m benchmarks.engines --tiers small base --frames "${FRAMES:-300}" \
    --runtimes torch tensorrt tensorrt_rtx onnxruntime --json "$out/engines-gpu.json"
timed=$?
exit $((tests || timed))
