"""Foreign text made safe to print: datasets, logs, model output, file names, other people's errors.

No widget and no print function strips control sequences, so a training file could set the
clipboard (OSC 52), the window's title, or reorder a line (bidi). Everything that did not come from
our own source goes through `clean` once, at the boundary where it is shown.
"""

from __future__ import annotations

import re

# Payloads stop at any introducer, so that a text full of unterminated sequences stays linear.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"  # OSC, DCS, SOS, PM, APC ...
    r"[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"  # ... up to BEL or ST
    r"|\x1b[ -/]*[0-~]"  # any other escape sequence
)
_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff]"  # lone surrogates
)


def clean(text: str) -> str:
    """`text` without control sequences and invisible controls; keeps newline and tab."""
    return _CHARACTERS.sub("", _SEQUENCES.sub("", text))


def clean_line(text: str) -> str:
    """`clean`, on one line: runs of white space become one space."""
    return " ".join(clean(text).split())


def clean_output(text: str) -> str:
    """`clean` for what programs print: a line that a progress bar redraws becomes several."""
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))
