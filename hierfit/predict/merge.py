"""`hierfit merge`: an adapter and the backbone it was trained on, as one folder that needs no peft."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hierfit.backbone.source import read_json
from hierfit.errors import UserError


def merge(arguments: Sequence[str]) -> None:
    """Merges the adapter of a run into its backbone and says how to use the result.

    Raises:
        UserError: There is no adapter, it does not fit the backbone, or the output exists.
    """
    parser = argparse.ArgumentParser(
        prog="hierfit merge", description="Merge a LoRA adapter into its backbone: one transformers folder, no peft."
    )
    parser.add_argument("adapter", type=Path, help="a run's adapter folder, or the run")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--backbone", help="what the adapter was trained on; default: as the adapter says")
    options = parser.parse_args(arguments)
    folder = options.adapter
    folder = folder / "adapter" if (folder / "adapter").is_dir() else folder
    config = folder / "adapter_config.json"
    if not config.is_file():
        raise UserError(
            f"{folder} is no adapter: it has no {config.name}", hint="A HierLoRA run keeps one in adapter/."
        )
    if options.out.exists():
        raise UserError(f"{options.out} exists already", hint="Name a new folder.")
    facts, fault = read_json(config)
    source = options.backbone or facts.get("base_model_name_or_path")
    if not isinstance(source, str):
        raise UserError(f"{config}: {fault or 'it names no backbone'}", hint="Name it: --backbone NAME.")

    import transformers

    from hierfit.backbone import Backbone
    from hierfit.backbone.saving import save_merged
    from hierfit.methods.lora import open_adapter
    from hierfit.run.quiet import quieten

    quieten()
    transformers.utils.logging.disable_progress_bar()
    backbone = Backbone.load(source)
    open_adapter(backbone, folder)
    save_merged(backbone, options.out)
    print(f"Written to {options.out}: use it as data.backbone, or with transformers.")
