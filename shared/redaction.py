"""Secrets taken out of text that leaves this process: crash reports, logs, error messages.

Knows three ways to recognise one: it is the value of an environment variable whose name says
secret; it has the shape of a vendor's key; or it stands where a secret stands (`password=...`,
`Authorization: ...`, a signed URL). What only looks random (hashes, ids) stays.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

REDACTED = "[redacted]"
MIN_VALUE_LENGTH = 8
"""Shorter values of environment variables stand in ordinary text by chance."""
_MIN_LINE_LENGTH = 16
"""Of a value of many lines, such as a private key, each line from this length on is secret too."""

SECRET_VARIABLES = frozenset(
    {"RUNPOD_API_KEY", "TRAINING_WEBHOOK_SECRET", "SUPABASE_SERVICE_ROLE_KEY", "HF_TOKEN"}
)
"""The project's own; any other is told by a word of its name."""
_SAYS_SECRET = re.compile(
    r"(?:.*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY)|KEY|PASS)S?|PWD"
)
# Variables that say where a secret is, or what it is called; and the shell's directories.
_PLACES = frozenset({"PATH", "FILE", "DIR", "SOCK", "SOCKET", "NAME"})
_NOT_SECRET = frozenset({"PWD", "OLDPWD"})

# Every pattern is linear: a start stands at the beginning of a word, or what follows it cannot run
# over another start. Shapes end with their word, so that taking one out never uncovers another.
_START = (
    r"(?:(?<![A-Za-z0-9_-])"
    r"|(?<=\\[abfnrtv0])|(?<=\\x[0-9a-fA-F]{2})|(?<=\\u[0-9a-fA-F]{4})"  # escaped: '\nsk-...'
    r"|(?<=%[0-9a-fA-F]{2}))"
)
_SHAPES = re.compile(
    r"(?=[bhrsgAxwe])(?:"  # what they begin with: five times as fast as trying them all
    r"hf_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|rpa_[A-Za-z0-9]{16,}"  # RunPod
    r"|brt_[\w-]{16,}"  # the web application's API: `tui.services.web_api.tokens`
    r"|sb_secret_[\w-]{16,}|sbp_[A-Za-z0-9]{16,}"  # Supabase
    r"|gh[opusr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"  # GitHub, GitLab
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|xox[abeoprs]-[\w-]{10,}"  # AWS, Google, Slack
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,}"  # Stripe
    rf"|{_START}sk-(?=[\w-]*[0-9])[\w-]{{20,}}"  # OpenAI, Anthropic; `sk-learn-...` has no digit
    rf"|{_START}eyJ[\w-]{{8,}}\.[\w-]{{8,}}(?:\.[\w-]*)?"  # JSON Web Token
    r")[\w-]*",
    re.ASCII,
)
_PRIVATE_KEYS = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\w+/=\s\\:,.]|-(?!----))*"
    r"(?:-----END [A-Z0-9 ]{0,40}-----)?"
)
_BLANKS = r"[ \t]{0,9}"
_QUOTE = r"\\{0,3}[\"']"  # JSON within a string has its quotes escaped
_AUTHORIZATION = re.compile(
    rf"(authorization(?:{_QUOTE}{_BLANKS}[:,]{_BLANKS}b?{_QUOTE}"
    rf"|{_BLANKS}[:=]{_BLANKS}(?:[bfr]{{0,2}}{_QUOTE})?))[^\\\"'\r\n]+",
    re.IGNORECASE,
)
_BEARER = re.compile(
    rf"((?=b){_START}bearer[ \t]{{1,9}})(?=[\w.~+/=-]*[0-9])[\w.~+/=-]{{8,}}",
    re.IGNORECASE | re.ASCII,
)
_QUERY = re.compile(
    r"((?:[?&]|&amp;)(?:(?:access_|refresh_|id_|auth_)?token(?:_hash)?|key|api_?key|password"
    r"|(?:client_)?secret|sig|(?:x-(?:amz|goog)-)?(?:signature|credential|security-token))=)"
    r"[^\s&\\\"'<>#]+",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^\s/?#:@\"'<>]*:)[^\s/\"'<>]+(?=@)")

_TOKEN = (  # `pad_token='<pad>'` and its like are of a tokenizer
    "(?<!bos_|cls_|end_|eos_|pad_|sep_|unk_)(?<!mask_|next_|stop_)"
    "(?<!added_|image_|start_)(?<!special_)token"
)
_CHARACTER = r"[^\s\\\"'&,;()\[\]{}<>]"
_WORD = rf"(?:{re.escape(REDACTED)}|{_CHARACTER})"
_ASSIGNMENT = re.compile(
    r"(?=[acempstwr_])(?:"
    r"(?:access|anon|api|auth|encryption|master|private|role|secret|signing|webhook)[_-]?key"
    rf"|(?-i:(?<=[A-Z0-9])_KEY)|{_TOKEN}|secret|password|passwd|passphrase|credentials?)"
    rf"(?:{_QUOTE})?(?:"
    # Anything in quotes ...
    rf"{_BLANKS}[:=]{_BLANKS}[bfr]{{0,2}}(?P<quote>{_QUOTE})"
    r"(?P<quoted>(?:(?!(?P=quote))(?:\\.|[^\r\n]))+)(?=(?P=quote))"
    # ... `name=value`, as in .env files and connection strings ...
    rf"|=(?:{_QUOTE})?(?!(?:none|null|true|false)(?!{_CHARACTER}))(?P<joined>{_WORD}{{4,}})"
    # ... and `name: value`, which is prose or source code unless there is a digit.
    rf"|{_BLANKS}[:=][ \t]{{1,9}}(?:{_QUOTE})?"
    rf"(?={_CHARACTER}*[0-9])(?P<spaced>{_WORD}{{8,}}))",
    re.IGNORECASE,
)


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """`text` with `[redacted]` for every secret; redacting again changes nothing."""
    text = _PRIVATE_KEYS.sub(REDACTED, text)
    if (literals := _literals(_secret_values(environ))) is not None:
        text = literals.sub(REDACTED, text)
    text = _SHAPES.sub(REDACTED, text)
    for pattern in (_AUTHORIZATION, _BEARER, _QUERY, _URL_PASSWORD):
        text = pattern.sub(rf"\1{REDACTED}", text)
    return _ASSIGNMENT.sub(_without_value, text)


@lru_cache(maxsize=1024)
def says_secret(variable: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    name = variable.upper()
    if name in SECRET_VARIABLES:
        return True
    words = re.split(r"[^A-Z0-9]+", name)
    if name in _NOT_SECRET or words[-1] in _PLACES:
        return False
    return any(_SAYS_SECRET.fullmatch(word) for word in words)


def _without_value(match: re.Match[str]) -> str:
    value = match["quoted"] or match["joined"] or match["spaced"]
    return match[0].removesuffix(value) + REDACTED


def _secret_values(environ: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(value for name, value in environ.items() if says_secret(name)))


@lru_cache(maxsize=4)
def _literals(values: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds these values as they are, and as `repr`, JSON and URLs write them."""
    spellings: set[str] = set()
    for value in values:
        stripped = value.strip()
        if len(stripped) >= MIN_VALUE_LENGTH:
            spellings |= {stripped, repr(stripped)[1:-1], json.dumps(stripped)[1:-1]}
            spellings.add(quote(stripped, safe="", errors="replace"))
        lines = (line.strip() for line in stripped.splitlines())
        spellings |= {line for line in lines if len(line) >= _MIN_LINE_LENGTH and line[:2] != "--"}
    spellings = {spelling for spelling in spellings if spelling not in REDACTED}
    if not spellings:
        return None
    # The longest first: one value may be the beginning of another.
    return re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))))
