"""``hierfit fit-head``: a closed form on the features that a finished run has adapted, as a run beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hierfit.config.command import Say
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.run.configure import Config

HEADS = "heads"
"""Where a run keeps them."""

_DROPPED = ("model", "controls", "expected", "folder", "ckpt_path", "row", "tuned_on")
"""Keys of the run that say nothing of the head."""


def fit_head(
    run: Annotated[Path, Say("a finished run whose method has a head", "RUN")],
    *options: str,
    method: Annotated[str, Say("what is fitted: TreeGDA (default), KernelRidge, or your own", "NAME")] = "TreeGDA",
) -> None:
    """Fit a closed form on the features that a run has adapted, and test it beside the run's own head.

    The run stays as it was. Its adapter, whitening, or towers with LoRA merged in, come first; the closed form is
    fitted to the same training images behind them, in about a second. It becomes a run of its own in RUN/heads/NAME,
    which predicts and exports like any other. Another fit takes the place of an earlier one.

    Other options are keys of the head's run, such as --model.prior common.

    examples:
      hierfit fit-head latest
      hierfit fit-head RUN --method KernelRidge --model.use_val false

    Raises:
        UserError: The run has no head or has not finished, or the method cannot stand on one.
    """
    from hierfit.backbone.loading import save_merged
    from hierfit.methods.saved import FOLDER, SavedModel
    from hierfit.results.card import ResultCard
    from hierfit.results.runs import run_folder
    from hierfit.run.console import print_rows, shown_plainly
    from hierfit.run.quiet import quieten
    from hierfit.run.train import fit, set_up
    from hierfit.streams import program, shown

    quieten()
    run = run_folder(run)
    saved, own = SavedModel.read(run), ResultCard.read(run)
    towers = run / HEADS / "towers" if saved.towers.adapter is not None else None
    config = _configured(run, own.row, method, towers, options)
    with shown_plainly():
        if towers is not None:
            shutil.rmtree(towers, ignore_errors=True)
            save_merged(saved.towers.load(saved.head.nodes.text.shape[1]), towers)
        session = set_up(config)
        fit(session)
        session.run.reached("done")
    session.run.release()
    assert session.writer.card is not None
    print_rows([session.writer.card, own])
    folder = shown(session.folder)
    print(f"Written to {folder}")
    if (session.folder / FOLDER).is_dir():
        print(f"  {program()} predict {folder} IMAGE…")
    else:
        print(f"{method} has no head that could be saved: `predict` and `export` do not take it")


def _configured(run: Path, row: str, method: str, towers: Path | None, options: tuple[str, ...]) -> Config:
    """The run's configuration with the closed form in the place of its method."""
    from hierfit.config.settings import Setting, file_settings, settings_by
    from hierfit.run.configure import SETTINGS, configure

    if not (run / SETTINGS).is_file():
        raise UserError(f"{run} is no run: it has no {SETTINGS}", hint="An exported model is fitted no more.")
    problems: list[str] = []
    given = list(file_settings(run / SETTINGS, problems))
    if problems:
        raise UserError(f"{run / SETTINGS} cannot be used", problems)
    name, where = method.rpartition(".")[2], run.resolve()
    changes: dict[str, Any] = {
        "model": method,
        "model.adapted_by": str(where),
        "row": f"{row} + {name} head",
        "folder": str(run / HEADS / name),
        "resume": False,
        "wandb": "disabled",
        "data.augment": "none",
        "data.targets": None,  # a closed form knows the classes it was fitted to
        "trainer.devices": 1,
        "trainer.num_nodes": 1,
        "trainer.strategy": "auto",
    }
    if towers is not None:
        changes["data.backbone"] = str(where / HEADS / towers.name)
    kept: list[str | Setting] = [s for s in given if s.key.partition(".")[0] not in _DROPPED]
    return configure([*kept, *settings_by("fit-head", changes), *options])
