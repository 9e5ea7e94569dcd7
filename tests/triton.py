"""A real Triton Inference Server on this machine's processor.

The server comes out of the wheel nvidia-pytriton, which is unpacked into a folder of its own and
never imported: what it depends on asks for a protobuf that MediaPipe does not take.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

WHEEL = "nvidia-pytriton==0.7.0"
ROOT = Path(__file__).resolve().parent.parent
_KEPT = Path(tempfile.gettempdir()) / f"puppet-tests-{os.getuid()}" / WHEEL.replace("==", "-")
STUB = "triton_python_backend_stub"

# Triton runs backends written in Python beside its built-in ones; this one takes the place of the
# ONNX Runtime backend, which the wheel does not have, and runs the same library on the same file.
_ONNX_BACKEND = """
import json
from pathlib import Path
import os; os.environ["ORT_DISABLE_TELEMETRY"] = "1"; import onnxruntime
import triton_python_backend_utils as pb

class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        return config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        self.names = [entry["name"] for entry in config["input"]]
        self.outputs = [entry["name"] for entry in config["output"]]
        path = str(folder / config["default_model_filename"])
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        answers = []
        for request in requests:
            given = {n: pb.get_input_tensor_by_name(request, n).as_numpy() for n in self.names}
            arrays = self.session.run(self.outputs, given)
            tensors = [pb.Tensor(n, a) for n, a in zip(self.outputs, arrays)]
            answers.append(pb.InferenceResponse(tensors))
        return answers
"""


def find_triton() -> Path:
    """The unpacked wheel; installed if need be. Skips the test, with the reason, if it cannot."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("Triton's wheel is for Linux on x86-64")
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        # Every array a backend answers with arrives with a shape and no bytes, whatever it holds.
        pytest.skip(f"{WHEEL} does not know the arrays of NumPy {np.__version__}, only those of 1")
    if not _KEPT.is_dir():
        _KEPT.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=_KEPT.parent))
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(beside)]
        pip += ["--retries", "1", "--timeout", "20", WHEEL]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(beside)
            pytest.skip(f"{WHEEL} cannot be installed here: {done.stderr.strip()[-300:]}")
        os.replace(beside, _KEPT)
    if _KEPT.parent.stat().st_uid != os.getuid():
        pytest.skip(f"{_KEPT.parent} belongs to somebody else")
    stub = _stub(_KEPT)
    if not stub.is_file():
        pytest.skip(f"{WHEEL} does not serve Python {platform.python_version()}")
    loads = subprocess.run(
        ["ldd", str(stub)], capture_output=True, text=True, check=False, env=_environment(_KEPT)
    )
    if "not found" in loads.stdout or loads.returncode:
        pytest.skip(f"Triton's Python backend does not load here: {loads.stdout + loads.stderr}")
    return _KEPT


class Triton:
    """A running server of a model repository. stop() may be called at any time, more than once."""

    def __init__(self, triton: Path, repository: Path, work: Path) -> None:
        self.port, http = _free_port(), _free_port()
        self._log = work / f"triton-{self.port}.log"
        self._process = subprocess.Popen(
            [
                str(_program(triton)),
                f"--model-repository={repository}",
                f"--backend-directory={_backends(triton, work)}",
                f"--grpc-port={self.port}",
                f"--http-port={http}",
                "--grpc-address=127.0.0.1",
                "--http-address=127.0.0.1",
                "--allow-metrics=false",
                "--grpc-infer-response-compression-level=low",
            ],
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
            env=_environment(triton),
        )
        self.address = f"127.0.0.1:{self.port}"
        self._wait()

    def kill(self) -> None:
        """As when the machine goes down: no farewell to anybody."""
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _wait(self) -> None:
        for _ in range(600):
            if "Started GRPCInferenceService" in self.log():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"Triton did not start:\n{self.log()[-4000:]}")


def _program(triton: Path) -> Path:
    program = triton / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    program.chmod(0o755)
    return program


def _stub(triton: Path) -> Path:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return triton / "pytriton" / "tritonserver" / "python_backend_stubs" / version / STUB


def _backends(triton: Path, work: Path) -> Path:
    folder = work / "backends"
    if not folder.exists():
        (folder / "onnxruntime").mkdir(parents=True)
        (folder / "onnxruntime" / "model.py").write_text(_ONNX_BACKEND)
        shutil.copytree(triton / "pytriton/tritonserver/backends/python", folder / "python")
        shutil.copy(_stub(triton), folder / "python" / STUB)
        (folder / "python" / STUB).chmod(0o755)
    return folder


def _environment(triton: Path) -> dict[str, str]:
    site = sysconfig.get_path("purelib")
    libraries = [str(triton / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PYTHONPATH": f"{ROOT}:{site}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
