"""An exported model on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from hierfit.errors import UserError

_MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_name(name: str) -> bool:
    """Whether ``owner/name`` or ``owner/name@revision`` can be a model of the hub: no folder here is called so."""
    return bool(_MODEL_NAME.fullmatch(name)) and not Path(name).exists() and not Path(name).parent.is_dir()


def fetched(name: str) -> Path:
    """The folder of a model of the hub: from the cache, else downloaded; raises `UserError` where it is in neither."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (OSError, ValueError):
        pass  # not in the cache
    try:
        return Path(snapshot_download(repository, revision=revision or None))
    except Exception as error:  # whatever the HTTP library below huggingface_hub raises
        raise UserError(
            f"there is no folder {name}, and no model of this name in the hub's cache or on the hub",
            [f"{type(error).__name__}: {_reason(error)}"],
            f"Without network: run `hf download {repository} --local-dir FOLDER` elsewhere, and name the folder.",
        ) from error


def check_login() -> None:
    """Raises `UserError` where nobody is logged in, or the hub cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalTokenNotFoundError

    try:
        HfApi().whoami()
    except LocalTokenNotFoundError:
        raise UserError("--push: nobody is logged in to the Hugging Face hub", hint="Run `hf auth login`.") from None
    except Exception as error:  # as above
        raise UserError(
            "--push: the Hugging Face hub cannot be reached, or does not know this login",
            [_reason(error)],
            "Leave --push out; later, `hf upload OWNER/NAME FOLDER` does the same.",
        ) from error


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Uploads a folder as a model and returns its address; raises `UserError` where the hub refuses it."""
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="hierfit export")
    except Exception as error:  # as above
        summary = f"{folder} is written, but could not be pushed to {repository!r}"
        raise UserError(summary, [_reason(error)], f"`hf upload {repository} {folder}` tries again.") from error
    return str(address)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
