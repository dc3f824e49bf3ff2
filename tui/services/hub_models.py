"""What the Hugging Face hub says of a model, before a machine is rented for it. Blocks.

A machine would ask the same things on paid time: is the model there, may this token read it, which
commit is meant, are there weights in safetensors, how large are they. A hub that does not answer
says nothing against a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.clean_text import clean_line
from shared.errors import InvalidBaseModel
from shared.model_cache import is_commit
from tui.services.hub_files import TIMEOUT_S, hub_token, is_hub_id, quiet_hub

_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class HubModel:
    """One model at one commit, as the hub lists it."""

    base_model: str
    commit: str
    weights: tuple[tuple[str, int], ...]
    """The files that are loaded, and the bytes of each; 0 where the hub does not say."""

    @property
    def weight_bytes(self) -> int:
        """0 where the hub does not say."""
        return sum(size for _, size in self.weights)

    @property
    def largest_shard_bytes(self) -> int:
        return max((size for _, size in self.weights), default=0)


def require_hub_model(base_model: str, revision: str | None) -> HubModel | None:
    """Ask the hub now for what a rented machine will ask it for.

    None where the model is none of the hub's, or the hub does not answer.

    Raises:
        InvalidBaseModel: it is gated, not there, has no such revision or no safetensors; says what
            helps. Nothing was rented.
    """
    if not is_hub_id(base_model):
        return None
    reason, model = _look(base_model, revision)
    if reason:
        raise InvalidBaseModel(f"{clean_line(reason)}. Nothing was rented.")
    return model


def _look(base_model: str, revision: str | None) -> tuple[str, HubModel | None]:
    """Why it is refused, "" if it is not; and the model, where the hub has answered."""
    from httpx2 import HTTPError  # what the hub's client lets through
    from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        DisabledRepoError,
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{base_model}"
    quiet_hub()
    try:
        listed = HfApi().model_info(
            base_model, revision=revision, files_metadata=True, timeout=TIMEOUT_S
        )
        model = _model_of(base_model, listed)
        # What is listed may still be closed: the list of a gated model is open to everybody.
        url = hf_hub_url(
            base_model, "config.json", revision=None if model is None else model.commit
        )
        get_hf_file_metadata(url, timeout=TIMEOUT_S)
    except GatedRepoError:
        return _gated(base_model, page), None
    except DisabledRepoError:
        return f"the hub has switched {base_model} off: choose another base model", None
    except RepositoryNotFoundError:
        return (
            f"the hub has no {base_model}, or shows it only with the right HF_TOKEN: look at {page}"
        ), None
    except RevisionNotFoundError:
        return (
            f"{base_model} has no revision {revision}: name a branch, a tag or a commit of "
            f"{page}/commits/main, or none"
        ), None
    except EntryNotFoundError:
        return f"{base_model} has no config.json: it is no model that transformers can load", None
    except (HFValidationError, OfflineModeIsEnabled):
        return "", None
    except (HTTPError, OSError) as error:
        return _refused_token(error, f"{constants.ENDPOINT}/settings/tokens"), None
    if model is not None and not model.weights:
        return _no_safetensors(base_model, listed), None
    return "", model


def _model_of(base_model: str, listed: object) -> HubModel | None:
    """None where the answer names no commit, which only a stand-in for the hub would do."""
    commit = getattr(listed, "sha", None)
    if not is_commit(commit):
        return None
    assert isinstance(commit, str)
    sizes = {str(file.rfilename): int(file.size or 0) for file in _files(listed)}
    weights = tuple((name, sizes[name]) for name in sorted(sizes) if _is_weights(name))
    if _INDEX in sizes:  # The single file beside an index would be a second copy.
        weights = tuple(each for each in weights if each[0] != "model.safetensors")
    return HubModel(base_model, commit, weights)


def _files(listed: object) -> list[Any]:
    return list(getattr(listed, "siblings", None) or [])


def _is_weights(name: str) -> bool:
    """As transformers looks for them: `model.safetensors`, or `model-00001-of-00030.safetensors`.

    What lies in a folder, or is called otherwise, is another copy or an adapter.
    """
    return name.startswith("model") and name.endswith(".safetensors") and "/" not in name


def _no_safetensors(base_model: str, listed: object) -> str:
    names = [str(file.rfilename) for file in _files(listed)]
    kinds = {"GGUF": ".gguf", "pickled (.bin)": ".bin", "PyTorch (.pth)": ".pth"}
    found = [kind for kind, end in kinds.items() if any(name.endswith(end) for name in names)]
    has = f", only {' and '.join(found)} ones" if found else ""
    return (
        f"{base_model} has no weights in safetensors{has}, and no others are read: choose a "
        "repository of the same model with model.safetensors"
    )


def _gated(base_model: str, page: str) -> str:
    if hub_token() is None:
        return (
            f"{base_model} is gated: set HF_TOKEN to the token of an account that has accepted its "
            f"licence at {page}"
        )
    return (
        f"{base_model} is gated, and the account of your HF_TOKEN has no access: accept its "
        f"licence at {page} and wait until it is granted; a fine-grained token also needs the "
        "right to read gated repositories"
    )


def _refused_token(error: Exception, page: str) -> str:
    """Why the hub refuses the token itself; "" for any other trouble, which passes."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"the hub does not accept the token in HF_TOKEN: make a new one at {page}"
    return ""
