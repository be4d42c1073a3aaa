"""An exported model on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hierfit.errors import UserError

_MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_name(name: str) -> bool:
    """Whether ``owner/name`` or ``owner/name@revision`` can be a model of the hub: no folder here is called so."""
    return bool(_MODEL_NAME.fullmatch(name)) and not Path(name).exists() and not Path(name).parent.is_dir()


@contextmanager
def _refused(summary: str, hint: str) -> Iterator[None]:
    """Whatever the HTTP library below huggingface_hub raises, in a sentence."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(summary, [f"{type(error).__name__}: {reason}"], hint) from error


def fetched(name: str) -> Path:
    """The folder of a model of the hub: from the cache, else downloaded; raises `UserError` where it is in neither."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (OSError, ValueError):  # not in the cache
        with _refused(
            f"there is no folder {name}, and no model of this name in the hub's cache or on the hub",
            f"Without network: run `hf download {repository} --local-dir FOLDER` elsewhere, and name the folder.",
        ):
            return Path(snapshot_download(repository, revision=revision or None))


def check_login() -> None:
    """Raises `UserError` where nobody is logged in, or the hub cannot be reached."""
    from huggingface_hub import HfApi

    with _refused(
        "--push: nobody is logged in to the Hugging Face hub, or it cannot be reached",
        "`hf auth login` logs in. Without --push, `hf upload OWNER/NAME FOLDER` does the same later.",
    ):
        HfApi().whoami()


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Uploads a folder as a model and returns its address; raises `UserError` where the hub refuses it."""
    from huggingface_hub import HfApi

    api = HfApi()
    with _refused(
        f"{folder} is written, but could not be pushed to {repository!r}",
        f"`hf upload {repository} {folder}` tries again.",
    ):
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="hierfit export")
    return str(address)
