"""Which packages the agent and the trainer need on another machine, in which versions.

The names stand here, since a console's own installation need not have them; the versions stand in
`constraints.txt` alone. A test compares the names with what the packages themselves ask for.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from shared.errors import InvalidInput

# fmt: off
AGENT_PACKAGES = (
    "annotated-doc", "annotated-types", "anyio", "certifi", "click", "fastapi", "h11", "httpcore",
    "httpx", "idna", "markdown-it-py", "mdurl", "opentelemetry-api", "platformdirs", "pydantic",
    "pydantic-core", "pygments", "rich", "shellingham", "starlette", "typer", "typing-extensions",
    "typing-inspection", "uvicorn", "websockets",
)
"""What agent/ and shared/ import without the trainer, and what that needs itself."""

TRAINER_PACKAGES = (
    "accelerate", "annotated-doc", "annotated-types", "anyio", "bitsandbytes", "click", "datasets",
    "dill", "filelock", "fsspec", "h11", "hf-xet", "httpcore2", "httpx2", "huggingface-hub", "idna",
    "jinja2", "markdown-it-py", "markupsafe", "mdurl", "mpmath", "multiprocess", "networkx",
    "numpy", "packaging", "pandas", "peft", "psutil", "pyarrow", "pydantic", "pydantic-core",
    "pygments", "python-dateutil", "pyyaml", "regex", "rich", "safetensors", "setuptools",
    "shellingham", "six", "sympy", "tokenizers", "torch", "tqdm", "transformers", "trl",
    "truststore", "typer", "typing-extensions", "typing-inspection", "xxhash",
)
"""The training stack, and what of shared/ the trainer imports; torch brings its CUDA libraries."""
# fmt: on


def pinned(names: tuple[str, ...], constraints: str) -> str:
    """Requirements for pip, one a line.

    Raises:
        InvalidInput: the constraints pin one of them not at all.
    """
    versions = dict(
        line.split("==", 1) for line in constraints.splitlines() if "==" in line and line[0] != "#"
    )
    missing = [name for name in names if name not in versions]
    if missing:
        raise InvalidInput(
            f"constraints.txt pins no {', '.join(missing)}; install brightrun anew, with pip."
        )
    return "".join(f"{name}=={versions[name].strip()}\n" for name in names)


def read_constraints() -> str:
    """The lock of this installation: beside the package in a wheel, above it in a checkout.

    Raises:
        InvalidInput: it is not there.
    """
    spec = find_spec("tui")
    assert spec is not None and spec.origin is not None, "this module is part of it"
    package = Path(spec.origin).parent
    for path in (package / "constraints.txt", package.parent / "constraints.txt"):
        if path.is_file():
            return path.read_text(encoding="ascii")
    raise InvalidInput(f"{package}: constraints.txt is missing; install brightrun anew, with pip.")
