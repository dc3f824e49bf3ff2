"""The sample dataset that ships with the project, written for it."""

from pathlib import Path

SAMPLE_JSON = Path(__file__).parent / "brightrun-sample.json"
SAMPLE_JSONL = Path(__file__).parent / "brightrun-sample.jsonl"
