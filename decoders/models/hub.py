"""Checkpoints by their names on the hub, `ORG/NAME` or `ORG/NAME@REVISION`, through the package huggingface_hub.

Only files that are read are downloaded: configs, tokenizer, weights in safetensors, and code if the user trusts it. The
usual variables set the directory (`HF_HOME`), the token (`HF_TOKEN`), the server (`HF_ENDPOINT`) and whether it is used
(`HF_HUB_OFFLINE`). An interrupted download continues where it stopped, and complete files of a stopped run are kept.
"""

from __future__ import annotations

import errno
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoders.errors import UsageError
from decoders.files import readable
from decoders.models.reading import line

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo
    from huggingface_hub.utils.tqdm import tqdm

NAME = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w.][\w./-]*))?", re.ASCII)
SETTINGS = (
    "config.json", "generation_config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja",
    "chat_template.json", "additional_chat_templates/*.jinja",
)
TOKENIZER = tuple(name for name in SETTINGS if "token" in name)
WHOLE = "model.safetensors"
SHARDS = "model.safetensors.index.json", "model-*-of-*.safetensors"


@dataclass(frozen=True)
class Repository:
    """A repository of models on the hub, at a branch, a tag or a commit."""

    name: str
    revision: str

    @classmethod
    def named(cls, spec: str) -> Repository | None:
        """The repository that a text names, if it can. A text whose first part is a directory here is a path."""
        found = NAME.fullmatch(spec)
        if not found or Path(spec.partition("/")[0]).is_dir():
            return None
        return cls(found["name"], found["revision"] or "main")

    def snapshot(self, wanted: Collection[str], **how: Any) -> Any:
        """huggingface_hub's `snapshot_download` of the files that are `wanted`."""
        from huggingface_hub import snapshot_download

        return snapshot_download(self.name, revision=self.revision, allow_patterns=list(wanted), **how)

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision}"


def fetched(repository: Repository, code: bool = False) -> Path:
    """The directory of a checkpoint in the hub's cache; missing files are downloaded, with its `code` if requested. The
    size is reported before a download. Raises `UsageError`."""
    settings = (*SETTINGS, "*.py") if code else SETTINGS
    with told(repository):
        try:
            plan, wanted = planned(repository, [*settings, WHOLE, *SHARDS])
        except UnreachableError as e:
            return cached(repository, settings, e.why)
        bars = None if check(repository, plan) else silent()
        return Path(repository.snapshot(wanted, tqdm_class=bars))


def tokenizer_at(repository: Repository) -> Path:
    """The directory in the hub's cache that has the tokenizer of a repository, fetched if it is missing. Raises
    `UsageError`."""
    with told(repository):
        return Path(repository.snapshot(TOKENIZER, tqdm_class=silent()))


class UnreachableError(Exception):
    """The hub did not list the files of a repository."""

    def __init__(self, why: BaseException) -> None:
        self.why = why


def planned(repository: Repository, wanted: list[str]) -> tuple[list[DryRunFileInfo], list[str]]:
    """The files of a repository that are `wanted`, and the patterns for them; shards are left out if it also has its
    weights in one file. Raises `UnreachableError`."""
    from huggingface_hub.errors import DryRunError

    try:
        with hushed():
            plan = repository.snapshot(wanted, dry_run=True, tqdm_class=silent())
    except DryRunError as e:
        raise UnreachableError(e.__cause__ or e) from e
    if any(f.filename == WHOLE for f in plan):
        wanted = [w for w in wanted if w not in SHARDS]
        plan = [f for f in plan if f.filename == WHOLE or "safetensors" not in f.filename]
    return plan, wanted


def glimpsed(repository: Repository) -> tuple[Path, int | None]:
    """The directory of a checkpoint in the hub's cache, of which only configs and tokenizer are downloaded, and the
    bytes of its weights on the hub; None if the hub cannot be reached and the whole checkpoint is in the cache. Raises
    `UsageError`."""
    with told(repository):
        try:
            plan, _ = planned(repository, [*SETTINGS, WHOLE, *SHARDS])
        except UnreachableError as e:
            return cached(repository, SETTINGS, e.why), None
        found = repository.snapshot(SETTINGS, tqdm_class=silent())
        return Path(found), sum(f.file_size or 0 for f in plan if f.filename.endswith(".safetensors"))


def cached(repository: Repository, settings: tuple[str, ...], why: BaseException) -> Path:
    """The directory in the cache, if the hub cannot be reached. Raises the error `why` if it is not complete."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    for weights in ((WHOLE,), SHARDS):
        try:
            found = repository.snapshot([*settings, *weights], local_files_only=True)
        except LocalEntryNotFoundError:
            continue
        if (Path(found) / weights[0]).is_file():
            return Path(found)
    raise why


def check(repository: Repository, plan: list[DryRunFileInfo]) -> bool:
    """Whether a file is missing; the size of a download is reported. Raises `UsageError` for a repository without a
    checkpoint and for a download that does not fit on the disk."""
    from huggingface_hub import constants

    names = {f.filename for f in plan}
    if "config.json" not in names:
        raise UsageError(f"{repository} on the hub is no checkpoint: it has no config.json")
    if not any(name.endswith(".safetensors") for name in names) and "adapter_config.json" not in names:
        raise UsageError(
            f"{repository} on the hub has no weights in safetensors; other formats are not read, because they can run "
            "code or lack names"
        )
    missing = [f for f in plan if f.will_download]
    if not missing:
        return False
    size, place = sum(f.file_size or 0 for f in missing), Path(constants.HF_HUB_CACHE).expanduser()
    free = shutil.disk_usage(next(p for p in (place, *place.resolve().parents) if p.is_dir())).free
    if size > free:
        raise UsageError(
            f"{repository} takes {readable(size)} and {place} has room for {readable(free)}: make room, or set HF_HOME "
            "to another disk"
        )
    said = f"{repository} ({plan[0].commit_hash[:12]}): {len(missing)} of {len(plan)} files, {readable(size)}"
    print(f"Fetching {said}, to {place}", file=sys.stderr, flush=True)
    return True


@contextmanager
def told(repository: Repository) -> Iterator[None]:
    """Reports errors of the hub as `UsageError` with one line that says what to do."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    try:
        yield
    except UsageError:
        raise
    except errors.GatedRepoError as e:
        raise UsageError(
            f"{repository} is gated: accept its terms at {hub}/{repository.name}, and log in with HF_TOKEN or "
            "`hf auth login`"
        ) from e
    except errors.RepositoryNotFoundError as e:
        raise UsageError(
            f"there is no model {repository.name} at {hub}, nor a directory of that name here; if it is private, log "
            "in with HF_TOKEN or `hf auth login`"
        ) from e
    except errors.RevisionNotFoundError as e:
        raise UsageError(f"{repository.name} has no revision {repository.revision!r} at {hub}") from e
    except errors.HFValidationError as e:
        raise UsageError(f"{repository} cannot be the name of a model on the hub: {line(e)}") from e
    except errors.OfflineModeIsEnabled as e:
        raise UsageError(
            f"{repository} is not complete in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids a download"
        ) from e
    except errors.HfHubHTTPError as e:
        raise UsageError(f"{hub} does not hand out {repository}: it answers {e.response.status_code}") from e
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise UsageError(
                f"the disk of {constants.HF_HUB_CACHE} is full; make room and run the command again; complete files "
                "are kept"
            ) from e
        raise UsageError(f"{repository} cannot be fetched from {hub}: {line(e)}") from e
    except errors.HTTPError as e:  # type: ignore[attr-defined]  # of httpx or httpx2, as the hub's package has it
        raise UsageError(
            f"{repository} is not complete in {constants.HF_HUB_CACHE}, and {hub} cannot be reached ({line(e)}); "
            "run the command again when it can be reached; complete files are kept"
        ) from e


def silent() -> type[tqdm]:
    """Progress bars that do not show, for asking what there is to fetch."""
    from huggingface_hub.utils.tqdm import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **how: Any) -> None:
            super().__init__(*args, **{**how, "disable": True})  # type: ignore[no-untyped-call]

    return Silent


@contextmanager
def hushed() -> Iterator[None]:
    """Silences the hub's package, which warns if no file of a repository is wanted."""
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
