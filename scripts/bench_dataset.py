"""Times the check of training files, its memory, and how soon a conversation is on the screen.

    python scripts/bench_dataset.py [check] [stream] [preview] [--model tiny] [--json-mb 10]
                                    [--jsonl-mb 50 500]

- check: one JSON file, read, tokenized and checked; beside it each part of that work alone.
- stream: JSONL files of two sizes; memory must not grow with the file.
- preview: the first, middle and last conversation of the largest of them, from nothing to tokens.

The files are made of the sample that ships with the project: in each copy other ids and other
words, so that nothing repeats. Every figure is taken in a process of its own; memory is the peak of
that process with all its libraries. Without the base model's tokenizer (a directory, or `tiny` once
a demo has run) tokens are estimated, and the table says so. Ratios within one run are what counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.bench_table import Row, print_table
from shared.dataset.conversation import Conversation
from shared.dataset.folding import fold
from shared.dataset.reader import open_training_file
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.similarity import content_hash, near_duplicates, sketch
from shared.dataset.token_counts import count_rows
from shared.dataset.token_view import view_conversation
from tui.services.conversation_finder import ConversationFinder, Wanted
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.inspection import encoder_of

_MB = 1_000_000
_BATCH = 64
_WORD = re.compile(r"[a-z]{4,}")
_TEXT_FIELDS = ("current_user_input", "target_response")


@dataclass(frozen=True)
class Measured:
    """One piece of work in a process of its own."""

    wall_s: float
    peak_mb: float
    conversations: int = 0


def main() -> None:
    """Measure what is asked for, all by default, and print one table."""
    options = parse_arguments()
    parts: dict[str, Callable[[argparse.Namespace, Path], list[Row]]] = {
        "check": measure_check,
        "stream": measure_streams,
        "preview": measure_preview,
    }
    with TemporaryDirectory(prefix="brightrun-bench-") as folder:
        rows = [row for part in options.part or parts for row in parts[part](options, Path(folder))]
    counts = "exact tokens" if encoder_of(options.model) else "ESTIMATED tokens: no tokenizer here"
    print_table(rows, f"base model {options.model}, {counts}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", nargs="*", help="check, stream, preview (default: all)")
    parser.add_argument("--model", default="tiny", help="base model whose tokenizer counts")
    parser.add_argument("--json-mb", type=float, default=10.0)
    parser.add_argument("--jsonl-mb", type=float, nargs="+", default=[50.0, 500.0])
    options = parser.parse_args()
    if unknown := set(options.part) - {"check", "stream", "preview"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


# --- the three parts --------------------------------------------------------------------------


def measure_check(options: argparse.Namespace, folder: Path) -> list[Row]:
    """A JSON file as a whole, and its parts alone."""
    path = json_file(folder, options.json_mb)
    name = f"check of {path.stat().st_size / _MB:.0f} MB of JSON"
    whole = alone(check_file, path, options.model)
    nothing = alone(load_only, path, options.model)
    parts = {
        "reading": alone(read_file, path, options.model),
        "tokenizing": alone(tokenize_file, path, options.model),
        "hashes, sketches, near-duplicates": alone(compare_conversations, path, options.model),
    }
    return [
        Row(name, whole.wall_s, "s", goal="< 3 s for 10 MB"),
        Row("  its memory", whole.peak_mb, "MB", nothing.peak_mb, "libraries alone", "< 300 MB"),
        *(
            Row(f"  {of} alone", its.wall_s, "s", whole.wall_s, "check")
            for of, its in parts.items()
        ),
    ]


def measure_streams(options: argparse.Namespace, folder: Path) -> list[Row]:
    """JSONL files, smallest first; each beside the smallest."""
    rows: list[Row] = []
    smallest: Measured | None = None
    for size_mb in sorted(options.jsonl_mb):
        path = jsonl_file(folder, size_mb)
        found = alone(check_file, path, options.model)
        size = path.stat().st_size / _MB
        beside = (smallest.peak_mb if smallest else None, "smallest file" if smallest else "")
        rows += [
            Row(f"check of {size:,.0f} MB of JSONL", found.wall_s, "s"),
            Row("  a second of it", size / found.wall_s, "MB/s"),
            Row(
                "  its memory",
                found.peak_mb,
                "MB",
                *beside,
                "constant, but for 1.3 kB a conversation",
            ),
            Row("  conversations", found.conversations),
        ]
        smallest = smallest or found
    return rows


def measure_preview(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Conversations at three places of the largest JSONL file and of the JSON file."""
    jsonl, document = jsonl_file(folder, max(options.jsonl_mb)), json_file(folder, options.json_mb)
    total = alone(read_file, document, options.model).conversations
    numbers = {"first": 1, "middle": total // 2, "last": total}
    asked = [(jsonl, name, Wanted(conversation_id=its)) for name, its in ids_in(jsonl).items()]
    asked += [(document, name, Wanted(number=number)) for name, number in numbers.items()]
    rows = []
    for path, place, wanted in asked:
        found = alone(open_conversation, path, options.model, wanted)
        kind = f"{path.stat().st_size / _MB:,.0f} MB of {path.suffix[1:].upper()}"
        name = f"preview of the {place} in {kind}"
        rows.append(Row(name, found.wall_s * 1000, "ms", goal="< 500 ms"))
    return rows


def ids_in(path: Path) -> dict[str, str]:
    """Ids of conversations at three places of a JSONL file."""
    size = path.stat().st_size
    found = {}
    with path.open("rb") as file:
        for name, position in (("first", 0), ("middle", size // 2), ("last", size - 100_000)):
            file.seek(position)
            file.readline()
            found[name] = json.loads(file.readline())["conversation_id"]
    return found


# --- work, each in a process of its own -------------------------------------------------------


def alone(work: Callable[..., Measured], *arguments: Any) -> Measured:
    """The result of `work` in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def load_only(path: Path, model: str) -> Measured:
    """The libraries and the tokenizer, and nothing done with them."""
    return measured(lambda: encoder_of(model) and 0)


def check_file(path: Path, model: str) -> Measured:
    """As `brightrun dataset check` does it; the tokenizer's loading counts."""

    def work() -> int:
        file = check_training_file(path, CheckSettings(model), encoder_of(model))
        return file.report.conversations

    return measured(work)


def read_file(path: Path, model: str) -> Measured:
    """Into conversations, which are dropped."""
    return measured(lambda: sum(1 for _ in conversations_of(path)))


def tokenize_file(path: Path, model: str) -> Measured:
    """What is read before the clock starts is tokenized in batches."""
    encoder = encoder_of(model)
    rows = [row for item in conversations_of(path) for row in fold(item)]

    def work() -> int:
        for start in range(0, len(rows), _BATCH):
            count_rows(rows[start : start + _BATCH], encoder)
        return len(rows)

    return measured(work)


def compare_conversations(path: Path, model: str) -> Measured:
    """What finds duplicates and near-duplicates, of conversations that were read before."""
    conversations = list(conversations_of(path))

    def work() -> int:
        near_duplicates([sketch(item) for item in conversations])
        return len({content_hash(item) for item in conversations})

    return measured(work)


def open_conversation(path: Path, model: str, wanted: Wanted) -> Measured:
    """From the path to the tokens of one conversation; the tokenizer is loaded before."""
    encoder = encoder_of(model)

    def work() -> int:
        found = ConversationFinder(path).find(wanted)
        view_conversation(found.conversation, encoder=encoder, max_seq_length=4096)
        return 1

    return measured(work)


def conversations_of(path: Path) -> Iterator[Conversation]:
    """All of the file's, one by one."""
    return open_training_file(path).conversations()


def measured(work: Callable[[], Any]) -> Measured:
    """Time `work`, which says how many conversations it saw."""
    began = time.perf_counter()
    conversations = work()
    return Measured(time.perf_counter() - began, peak_mb(), int(conversations or 0))


def peak_mb() -> float:
    """Most memory that this process has ever held; getrusage would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / _MB if found else 0.0


# --- files ------------------------------------------------------------------------------------


def json_file(folder: Path, size_mb: float) -> Path:
    """A document of about this size."""
    path = folder / f"train-{size_mb:g}.json"
    if path.exists():
        return path
    document = json.loads(SAMPLE_JSON.read_text(encoding="utf-8"))
    metadata = document["training_file_metadata"]
    kept = {name: metadata[name] for name in ("file_name", "version", "format_spec")}
    head = {"training_file_metadata": kept, "consultant_profile": document["consultant_profile"]}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, indent=2)[:-2] + ',\n  "conversations": [\n')
        for number, conversation in enumerate(copies(document["conversations"])):
            text = json.dumps(conversation, ensure_ascii=False, indent=2)
            file.write(("" if number == 0 else ",\n") + text)
            if file.tell() > size_mb * _MB:
                break
        file.write("\n]}\n")
    return path


def jsonl_file(folder: Path, size_mb: float) -> Path:
    """Lines of trainable pairs of about this size."""
    path = folder / f"train-{size_mb:g}.jsonl"
    if path.exists():
        return path
    document = json.loads(SAMPLE_JSON.read_text(encoding="utf-8"))
    with path.open("w", encoding="utf-8") as file:
        file.write('{"_meta": {"file_name": "bench", "version": "4.0.0"}}')
        for conversation in copies(document["conversations"]):
            for pair in conversation["training_pairs"]:
                if pair["target_response"] is not None:
                    file.write("\n" + json.dumps(pair, ensure_ascii=False))
            if file.tell() > size_mb * _MB:
                return path
    return path


def copies(conversations: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The conversations again and again, without end, each time with other ids and words."""
    vocabulary = sorted(set(_WORD.findall(json.dumps(conversations))))
    for number in count():
        shuffled = random.Random(number).sample(vocabulary, len(vocabulary))
        words = dict(zip(vocabulary, shuffled, strict=True))
        for conversation in conversations:
            yield changed(conversation, number, words)


def changed(conversation: dict[str, Any], number: int, words: dict[str, str]) -> dict[str, Any]:
    """A copy in which every word is another, the same one wherever it stands."""
    texts: dict[str, str] = {}

    def other(text: str) -> str:
        if text not in texts:
            texts[text] = _WORD.sub(lambda found: words.get(found[0], found[0]), text)
        return texts[text]

    metadata = conversation["conversation_metadata"]
    new_id = f"{metadata['conversation_id'][:-8]}{number:08d}"
    pairs = []
    for pair in conversation["training_pairs"]:
        told = {name: pair[name] and other(pair[name]) for name in _TEXT_FIELDS}
        history = [
            {**message, "content": other(message["content"])}
            for message in pair["conversation_history"]
        ]
        pairs.append({**pair, **told, "conversation_id": new_id, "conversation_history": history})
    return {
        "conversation_metadata": {**metadata, "conversation_id": new_id},
        "training_pairs": pairs,
    }


if __name__ == "__main__":
    main()
