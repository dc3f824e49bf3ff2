"""The command that a rented container runs: it protects the money before and without us.

Rendered here, run there by bash on a stock image; it knows no job. Two loops go on beside the
image's own start script. The dead-man ends the pod with the pod's own key when nobody has touched
the heartbeat for too long, when its life is over, or when the keeper says so. The keeper looks
after the volume: the number of the machine that may write there, and an agent that runs.

RUN (tmpfs; lost with the container)     BASE/agent (the volume, where there is one)
  pod.json   number, id, key and API       machine.json   which machine may write: the fence
  heartbeat  touched by console, agent     began-N        boot id and uptime when machine N began
  began      uptime at the beginning       start-agent    written by the installation
  end        why the pod shall end

Only the dead-man's own sleeps and the kernel's uptime are counted: clocks of pods are wrong. The
dead-man touches nothing on the volume, since a volume that hangs would hang it too.
"""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from posixpath import relpath

RUNPOD_API = "https://api.runpod.io"
"""Where the pod ends itself unless its environment names another place."""
PREBUILT = "/opt/brightrun"
"""Where an image of ours has code and environments ready; laid out as the directory of ours on a
machine, and only read there."""
CONTAINER_STARTS = "brightrun: the container starts"
"""The first line of its log, each time: what an earlier start has printed counts no more."""
MACHINE_FILE = "machine.json"
POD_FILE = "pod.json"
HEARTBEAT_FILE = "heartbeat"
TOKEN_FILE = "hf-token"
"""In the run directory: the token for gated base models, where there is one."""
START_AGENT_FILE = "start-agent"


@dataclass(frozen=True, slots=True)
class PodStart:
    """What the command of one machine has to know; nothing in it is secret."""

    rental: int
    """Number of this machine among those of the job."""
    base: str
    """The directory of ours on the machine; `BASE/agent` is the agent's root."""
    start_script: str
    """The image's own, which runs sshd."""
    run_directory: str
    """On a tmpfs; secrets lie here and nowhere else."""
    silence_limit_s: int
    """So long without a touched heartbeat, and the pod ends."""
    lifetime_s: int
    """So long after its beginning the pod ends in any case."""
    tick_s: float = 5.0
    """Between two looks."""
    pause_s: float = 30.0
    """Between two tries to end the pod."""
    shared: str | None = None
    """Where code, environments and base models lie for all jobs of a volume; None: in the base. A
    volume that serves several jobs needs a base for each, since the fence is the base's."""


def render_start_command(start: PodStart) -> str:
    """For `bash -c`: writes the script into the run directory and becomes it.

    Encoded, so that nothing in it has to survive the quoting of whoever passes it on.
    """
    script = base64.b64encode(render_start_script(start).encode()).decode("ascii")
    directory = shlex.quote(start.run_directory)
    path = shlex.quote(f"{start.run_directory}/start.sh")
    return f"mkdir -p {directory}; echo {script} | base64 -d > {path}; exec bash {path}"


def render_start_script(start: PodStart) -> str:
    """The script itself."""
    machine = json.dumps({"rental": start.rental, "run_directory": start.run_directory})
    values = {
        "rental": str(start.rental),
        "root": f"{start.base}/agent",
        "run": start.run_directory,
        "image_start": start.start_script,
        "machine": machine,
        "base": start.base,
        "shared": "" if start.shared is None else start.shared,
        # Relative: another machine may have the volume at another place.
        "to_shared": "" if start.shared is None else relpath(start.shared, start.base),
        "silence_limit_ms": str(1000 * start.silence_limit_s),
        "lifetime": str(start.lifetime_s),
        "tick": f"{start.tick_s:g}",
        "tick_ms": str(round(1000 * start.tick_s)),
        "pause": f"{start.pause_s:g}",
        "default_api": RUNPOD_API,
    }
    settings = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f"#!/bin/bash\n{settings}\n{_SCRIPT}"


_SCRIPT = r"""
umask 077
id=$RUNPOD_POD_ID key=$RUNPOD_API_KEY api=${RUNPOD_API_BASE_URL:-$default_api}
api=${api%/} api=${api%/v2}

say() { printf 'brightrun: %s\n' "$*"; }
uptime_s() { local up; read -r up _ < /proc/uptime; echo "${up%%.*}"; }
escaped() { printf %s "$1" | sed 's/[\\"]/\\&/g'; }
# The key goes through standard input: a command line is for everybody to read.
with_curl() {
  printf 'url = "%s"\nheader = "Authorization: Bearer %s"\n' "$api$2" "$(escaped "$key")" |
    curl -q -sS --max-time 30 -o /dev/null -w '%{http_code}' -X "$1" \
      -H 'Content-Type: application/json' ${3:+-d "$3"} -K - 2>&1
}
with_python() {
  "$python" -I -c '
import json, sys, urllib.error, urllib.request
pod = json.load(open(sys.argv[1]))
headers = {"Authorization": "Bearer " + pod["api_key"], "Content-Type": "application/json",
           "User-Agent": "brightrun"}
asked = urllib.request.Request(pod["api"] + sys.argv[3], sys.argv[4].encode() or None, headers,
                               method=sys.argv[2])
try:
    print(urllib.request.urlopen(asked, timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print(error)
' "$run/pod.json" "$1" "$2" "$3" 2>&1
}
ask() {
  local python
  if command -v curl > /dev/null; then with_curl "$@"
  elif python=$(command -v python3 || command -v python); then with_python "$@"
  else echo 'neither curl nor python3 is here'; fi
}
end_pod() {
  say "ending pod $id: $1"
  local told
  while :; do
    told=$(ask DELETE "/v2/pods/$id" '')
    case $told in
      2??|404) say "terminate: accepted ($told)" ;;
      *)
        say "terminate: refused (${told:-no answer}); stopping it instead"
        told=$(ask POST "/v2/pods/$id/action" '{"action":"stop"}')
        case $told in
          2??) say "stop: accepted ($told)" ;;
          *) say "stop: refused (${told:-no answer}); trying again in $pause s" ;;
        esac ;;
    esac
    # Whoever accepted may have lied: this loop ends with the pod.
    sleep "$pause"
  done
}
dead_man() {
  local silent=0 seen='' now began
  while sleep "$tick"; do
    now=$(stat -c '%y %Z' "$run/heartbeat" 2> /dev/null)
    if [ "$now" != "$seen" ]; then seen=$now silent=0; else silent=$((silent + tick_ms)); fi
    if [ -e "$run/end" ]; then end_pod "$(cat "$run/end")"; fi
    if [ "$silent" -ge "$silence_limit_ms" ]; then
      end_pod "no heartbeat for $((silent / 1000)) s"
    fi
    read -r began < "$run/began"
    if [ $(($(uptime_s) - began)) -ge "$lifetime" ]; then end_pod "it has run for $lifetime s"; fi
  done
}
share_parts() {
  local part
  for part in code env trainer-env pip hub models; do mkdir -p "$shared/$part"; done
  for part in code env trainer-env pip hub models install.lock; do
    [ -L "$base/$part" ] || ln -s "$to_shared/$part" "$base/$part" || say "cannot link $base/$part"
  done
}
known_rental() { sed -n 's/.*"rental": *\([0-9][0-9]*\).*/\1/p' "$root/machine.json" 2> /dev/null; }
replace() { printf '%s\n' "$2" > "$1.$rental.partial" && mv -f "$1.$rental.partial" "$1"; }
keep_fence() {
  local known
  known=$(known_rental)
  if [ "${known:-0}" -gt "$rental" ]; then
    echo "machine $known has taken over from machine $rental" > "$run/end"
    return 1
  elif [ "${known:-0}" -lt "$rental" ]; then
    replace "$root/machine.json" "$machine" || say "cannot write $root/machine.json"
  fi
}
agent_runs() {
  local pid
  pid=$(sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' "$root/agent.json" 2> /dev/null)
  [ -n "$pid" ] && tr '\0' ' ' 2> /dev/null < "/proc/$pid/cmdline" | grep -q 'agent\.cli serve'
}
keep_agent() {
  if [ -x "$root/start-agent" ] && ! agent_runs; then
    say 'starting the agent'
    "$root/start-agent" > /dev/null 2>> "$root/agent.log" || say 'the agent did not start'
  fi
}
keeper() { while keep_fence; do keep_agent; sleep "$tick"; done; }
# A container that starts again is the same machine: its life goes on where it began.
remember_beginning() {
  local boot its_boot its_began
  read -r boot < /proc/sys/kernel/random/boot_id
  if read -r its_boot its_began 2> /dev/null < "$root/began-$rental" && [ "$its_boot" = "$boot" ]
  then replace "$run/began" "$its_began"
  else replace "$root/began-$rental" "$boot $(cat "$run/began")" || say "cannot write to $root"; fi
}

say 'the container starts'
mkdir -p "$run"
printf '{"rental": %s, "pod_id": "%s", "api_key": "%s", "api": "%s"}\n' "$rental" \
  "$(escaped "$id")" "$(escaped "$key")" "$(escaped "$api")" > "$run/pod.json"
rm -f "$run/end"
replace "$run/began" "$(uptime_s)"
[ -n "$id" ] && [ -n "$key" ] || say 'without RUNPOD_POD_ID and RUNPOD_API_KEY it cannot end itself'
dead_man &
mkdir -p "$root" || say "cannot make $root"
if [ -n "$shared" ]; then share_parts; fi
remember_beginning
keep_fence
keeper &
if [ -f "$image_start" ]; then exec bash "$image_start"; fi
say "$image_start is not there: nothing of the image is started"
wait
"""
