"""What is on the machine: two shell scripts, and pure functions that read what they print.

Login scripts may print whatever they like around it, so the answer stands between two lines that
nobody else prints. What is in it was written by the other machine, and is never trusted.
"""

from __future__ import annotations

import json
import secrets
import shlex
from pathlib import PurePosixPath
from typing import Any

from shared.clean_text import clean_line
from shared.errors import ProtocolError
from shared.pod_start import PREBUILT
from tui.services.remote.state import (
    OLDEST_PYTHON,
    RemotePython,
    RemoteState,
    RemoteTools,
    RunningAgent,
    TrainerFile,
)


def new_sentinel() -> str:
    """A line that nobody else prints."""
    return f"brightrun-{secrets.token_hex(8)}"


def state_script(base: str, sentinel: str, prebuilt: str = PREBUILT) -> str:
    """Prints what `read_state` reads."""
    script = _STATE.replace("@BASE@", shlex.quote(base)).replace("@SENTINEL@", sentinel)
    return script.replace("@PREBUILT@", shlex.quote(prebuilt))


def tools_script(base: str, sentinel: str) -> str:
    """Prints what `read_tools` reads; runs every Python that it finds."""
    return _TOOLS.replace("@BASE@", shlex.quote(base)).replace("@SENTINEL@", sentinel)


def read_state(
    output: str, sentinel: str, *, code_hash: str, protocol: int, prebuilt: str = PREBUILT
) -> RemoteState:
    """What the state script printed; `code_hash` and `protocol` are this console's.

    Raises:
        ProtocolError: it was cut off, or something else answered.
    """
    found = _between(output, sentinel)
    base = _one(found, "base")
    if not base.startswith("/") or clean_line(base) != base:
        raise ProtocolError(f"the machine's answer names no directory, but {clean_line(base)!r}.")
    agent = _agent(found, f"{base}/code", code_hash, protocol)
    return RemoteState(
        system=clean_line(_one(found, "system")),
        base=base,
        agent=agent,
        codes=frozenset(found.get("code", ())),
        environments=frozenset(found.get("env", ())),
        trainer_environments=frozenset(found.get("trainer-env", ())),
        trainer=_trainer(_one(found, "trainer")),
        prebuilt=prebuilt,
        prebuilt_trainers=frozenset(found.get("prebuilt-trainer", ())),
    )


def read_tools(output: str, sentinel: str) -> RemoteTools:
    """What the tools script printed.

    Raises:
        ProtocolError: it was cut off, or something else answered.
    """
    found = _between(output, sentinel)
    pythons: dict[str, RemotePython] = {}
    for line in found.get("python", ()):
        identity, python = _python(line)
        pythons.setdefault(identity, python)
    return RemoteTools(
        pythons=tuple(sorted(pythons.values(), key=_preference)),
        uv=_one(found, "uv") or None,
        free_bytes=_number(_one(found, "free"), 1024),
        architecture=clean_line(_one(found, "machine")),
        libc=clean_line(_one(found, "libc")),
    )


def _between(output: str, sentinel: str) -> dict[str, list[str]]:
    """The values of each name, in the order in which they were printed."""
    lines = [line.rstrip("\r") for line in output.split("\n")]
    begin, end = f"{sentinel} begin", f"{sentinel} end"
    if begin not in lines or end not in lines:
        last = next((clean_line(line) for line in reversed(lines) if clean_line(line)), "nothing")
        raise ProtocolError(
            "the machine did not answer as a POSIX shell does; look whether `ssh HOST true` works "
            f"there without a question. It said last: {last[:200]}"
        )
    found: dict[str, list[str]] = {}
    for line in lines[lines.index(begin) + 1 : lines.index(end)]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name, []).append(value)
    return found


def _one(found: dict[str, list[str]], name: str) -> str:
    return next(iter(found.get(name, ())), "")


def _agent(
    found: dict[str, list[str]], codes: str, code_hash: str, protocol: int
) -> RunningAgent | None:
    """None for a process that has ended, and for an address that makes no sense."""
    address = _object(_one(found, "address"))
    token = _one(found, "token").strip()
    try:
        agent = RunningAgent(
            socket=_line(address["socket"]),
            token=token,
            pid=int(address["pid"]),
            start_time=int(address["start_time"]),
            version=_line(address["version"]),
            protocol=int(address["protocol"]),
            code=_line(address.get("code", "")),
            python=_line(address.get("python", "")),
            is_current=_is_current(address, codes, code_hash, protocol),
        )
    except (KeyError, TypeError, ValueError):
        return None
    lives = _started(_one(found, "stat")) == agent.start_time and "socket" in found
    return agent if lives and token.isascii() and token.isprintable() and token else None


def _is_current(address: dict[str, Any], codes: str, code_hash: str, protocol: int) -> bool:
    code = str(address.get("code", ""))
    if code and PurePosixPath(code).parent != PurePosixPath(codes):
        # Not one that we installed: it is its owner's to update, as long as we can speak with it.
        return bool(address["protocol"] == protocol)
    return code == f"{codes}/{code_hash}"


def _started(stat: str) -> int | None:
    """Start time of a living process from its /proc/PID/stat; None for a zombie."""
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZXx" or not fields[19].isdigit():
        return None
    return int(fields[19])


def _trainer(text: str) -> TrainerFile | None:
    """None if there is none. One that makes no sense is the user's own."""
    if not text:
        return None
    content = _object(text)
    command, key = content.get("command"), content.get("key")
    parts = tuple(map(str, command)) if isinstance(command, list) else ()
    return TrainerFile(parts, key if isinstance(key, str) else None)


def _python(line: str) -> tuple[str, RemotePython]:
    try:
        version, path, identity, has_venv, has_ensurepip = line.split("\t")
        numbers = tuple(map(int, version.split(".")))
    except ValueError as error:
        raise ProtocolError(f"a Python there answered {clean_line(line)[:200]!r}.") from error
    return identity, RemotePython(path, numbers, has_venv == "1", has_ensurepip == "1")


def _preference(python: RemotePython) -> tuple[bool, tuple[int, ...], bool]:
    # The pins are tried with the oldest that will do; for the newest there may be no wheels yet.
    return python.version < OLDEST_PYTHON, python.version[:2], not python.has_ensurepip


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _line(value: object) -> str:
    """A text without anything that a terminal or a shell script could stumble over."""
    text = str(value)
    if clean_line(text) != text:
        raise ValueError("control characters")
    return text


def _number(text: str, unit: int) -> int | None:
    return int(text) * unit if text.strip().isdigit() else None


_STATE = r"""
base=@BASE@
case $base in "~"|"~/"*) base=$HOME${base#"~"};; /*) ;; *) base=$HOME/$base;; esac
one() { [ -r "$2" ] && printf '%s:%s\n' "$1" "$(head -c 8192 "$2" | tr '\n' ' ')"; }
each() {
    for stamp in "$2"/*/.complete; do
        [ -f "$stamp" ] || continue
        stamp=${stamp%/.complete}
        printf '%s:%s\n' "$1" "${stamp##*/}"
    done
}
printf '\n@SENTINEL@ begin\n'
printf 'system:%s\n' "$(uname -s)"
printf 'base:%s\n' "$base"
address=$base/agent/agent.json
one address "$address"
one token "$base/agent/agent.token"
one trainer "$base/agent/trainer.json"
if [ -r "$address" ]; then
    pid=$(sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' "$address" | head -n 1)
    socket=$(sed -n 's/.*"socket": *"\([^"]*\)".*/\1/p' "$address" | head -n 1)
    [ -n "$pid" ] && one stat "/proc/$pid/stat"
    [ -n "$socket" ] && [ -S "$socket" ] && echo socket:yes
fi
each code "$base/code"
each env "$base/env"
each trainer-env "$base/trainer-env"
each prebuilt-trainer @PREBUILT@/trainer-env
printf '@SENTINEL@ end\n'
"""

_TOOLS = r"""
base=@BASE@
limit=
command -v timeout >/dev/null 2>&1 && limit='timeout 10'
ask='
import os, sys
def has(name):
    try:
        __import__(name)
        return "1"
    except Exception:
        return "0"
print("\t".join([
    "%d.%d.%d" % sys.version_info[:3], sys.executable,
    os.path.realpath(sys.executable) + "@" + sys.prefix, has("venv"), has("ensurepip"),
]))
'
printf '\n@SENTINEL@ begin\n'
seen=:
try() {
    [ -x "$1" ] && [ ! -d "$1" ] || return
    case $seen in *":$1:"*) return;; esac
    seen=$seen$1:
    # A name on the path may be a shim of a version that is not installed: only what runs counts.
    found=$($limit "$1" -I -c "$ask" 2>/dev/null </dev/null) || found=$(
        $limit "$1" -c "$ask" 2>/dev/null </dev/null) || return
    printf 'python:%s\n' "$found" | grep "	"
}
everywhere() {
    for name in python3.11 python3.12 python3.13 python3.14 python3 python; do
        for place in "$@"; do try "$place/$name"; done
    done
}
old_ifs=$IFS; IFS=:
set -f; set -- $PATH; set +f
IFS=$old_ifs
everywhere "$@" /usr/local/bin /usr/bin /opt/conda/bin /opt/*/bin "$HOME"/.pyenv/versions/*/bin \
    "$HOME"/*conda3/bin "$HOME"/.local/share/uv/python/*/bin
for uv in "$(command -v uv 2>/dev/null)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
    [ -n "$uv" ] && "$uv" --version >/dev/null 2>&1 </dev/null && printf 'uv:%s\n' "$uv" && break
done
place=$base
while [ ! -d "$place" ] && [ "$place" != "${place%/*}" ]; do place=${place%/*}; done
printf 'free:%s\n' "$(df -Pk "${place:-/}" 2>/dev/null | awk 'NR == 2 { print $4 }')"
printf 'machine:%s\n' "$(uname -m)"
printf 'libc:%s\n' "$(getconf GNU_LIBC_VERSION 2>/dev/null || ldd --version 2>&1 | head -n 1)"
printf '@SENTINEL@ end\n'
"""
