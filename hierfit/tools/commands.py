"""``hierfit data`` and ``hierfit features``: each command is a function; the heavy imports are inside."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Annotated, Literal

from hierfit.config.command import Say
from hierfit.errors import UserError


class Whole(int):
    """A whole number from 1 on; ``2.7e6`` is one, too."""

    def __new__(cls, text: str | float) -> Whole:
        """Raises `ArgumentTypeError` for anything else."""
        try:
            number = float(text)
            if number >= 1 and number.is_integer():
                return super().__new__(cls, number)
        except ValueError:
            pass
        raise ArgumentTypeError(f"{str(text)!r} is not a whole number from 1 on")


Card = Annotated[str, Say("name of a card, or its YAML file")]
Workers = Annotated[Whole | None, Say("processes that decode; default: one a core", "N")]
NoPictures = Annotated[bool, Say("labels and counts only; the pictures are not opened")]


def check_data(
    card: Card,
    *,
    root: Annotated[str | None, Say("folder or file of the data (data.root)", "PATH")] = None,
    json: Annotated[Path | None, Say("write everything found, lists in full", "FILE")] = None,
    workers: Workers = None,
    no_pictures: NoPictures = False,
    strict: Annotated[bool, Say("exit with 1 for warnings, too")] = False,
) -> None:
    """Holds a data set against its card: counts, labels, splits, every
    picture decoded, the same picture twice (exactly and nearly). Exits with
    1 where something must be mended.
    """
    from hierfit.data.card import load_card
    from hierfit.data.encode import available_cores
    from hierfit.tools.check.audit import audit
    from hierfit.tools.check.report import print_audit, print_verdict, write_audit

    found = audit(load_card(card), root, workers or available_cores(), not no_pictures)
    print_audit(found)
    print_verdict(found)
    if json:
        write_audit(found, json)
        print(f"Written to {json}")
    if found.problems or (strict and found.warnings):
        sys.exit(1)


def new_data(
    root: Annotated[Path, Say("of the pictures; or the table that names them, or a file of features", "FOLDER")],
    *,
    out: Annotated[Path | None, Say("the card; default: data_cards/FOLDER.yaml, or here", "FILE")] = None,
    kind: Annotated[str | None, Say('what all classes are, for the prompts: "bird"', "WORDS")] = None,
    levels: Annotated[str | None, Say("names of the levels, coarse to fine: order,family,species", "LIST")] = None,
    taxonomy: Annotated[Path | None, Say("a tree to use; the labels are looked up in it", "FILE")] = None,
    path_column: Annotated[str | None, Say("of a table: the column of the picture", "NAME")] = None,
    label_columns: Annotated[str | None, Say("of a table: the columns of the label, coarse to fine", "LIST")] = None,
    split_column: Annotated[str | None, Say("of a table: the column of the split", "NAME")] = None,
    val: Annotated[
        float | None, Say("share to validate on, where splits are drawn (default 0.1) or train has none beside it")
    ] = None,
    test: Annotated[float, Say("share to test on, where splits are drawn; default 0.2")] = 0.2,
    seed: Annotated[int, Say("of that draw; default 0")] = 0,
    workers: Workers = None,
    no_pictures: NoPictures = False,
    force: Annotated[bool, Say("overwrite a card that is there")] = False,
) -> None:
    """Writes a commented data card and its tree from what lies in a folder:
    folders whose nesting is the tree (below train, val and test, or
    without); a table that names the pictures (CSV, JSON lines, Excel;
    exports of COCO, Label Studio, CoOp); a data set that the Hugging Face
    hub's datasets wrote; or a file of features. The pictures stay as they
    are.
    """
    from hierfit.data.encode import available_cores
    from hierfit.taxonomy.readers import read_taxonomy
    from hierfit.tools.new.found import Options
    from hierfit.tools.new.new import new_card, print_written

    options = Options(
        levels=_split_at_commas(levels),
        path=path_column,
        label=_split_at_commas(label_columns),
        split=split_column,
        taxonomy=None if taxonomy is None else read_taxonomy(taxonomy),
        val=val,
        test=test,
        seed=seed,
    )
    print_written(new_card(root, out, options, kind, workers or available_cores(), not no_pictures, force))


def _split_at_commas(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def draw_data(
    card: Card,
    *,
    out: Annotated[Path, Say("folder to write to", "DIR")],
    count: Annotated[Whole, Say("pictures; default: 12", "N")] = Whole(12),  # noqa: B008
) -> None:
    """Writes test pictures of a card whose pictures are drawn, such as
    fieldguide, spread over its classes and named after them: something for
    `hierfit predict`.
    """
    from hierfit.data.card import load_card
    from hierfit.streams import program
    from hierfit.tools.cards import draw_pictures

    written = draw_pictures(load_card(card), out, count)
    print(f"{len(written)} pictures of {card}'s test split in {out}, such as {written[0].name}")
    print(f"  {program()} predict latest {shlex.quote(str(out))}")


def list_cards(
    *, markdown: Annotated[Path | None, Say("a page of the cards of one folder instead", "FOLDER")] = None
) -> None:
    """Lists the data cards there are: levels, images, licence."""
    from hierfit.tools.cards import cards_page, print_cards

    if markdown:
        print(cards_page(markdown), end="")
    else:
        print_cards()


def show_prompts(
    card: Card,
    *,
    root: Annotated[str | None, Say("the data, where a card takes its tree from them", "PATH")] = None,
    level: Annotated[str | None, Say("nodes of this level only")] = None,
    node: Annotated[str | None, Say("this node (a name, or a path with /) and those below it only")] = None,
    backbone: Annotated[str, Say("whose tokens are counted; default: tiny")] = "tiny",
) -> None:
    """Prints the texts of each node as a text tower will read them, with
    their length in tokens: templates filled in, ancestors added to
    ambiguous names, descriptions.
    """
    from hierfit.data.card import load_card
    from hierfit.data.names import renamed
    from hierfit.data.table import read_table
    from hierfit.tools.cards import print_prompts

    found = load_card(card)
    tree = read_table(found, root).taxonomy if found.taxonomy is None else renamed(found.taxonomy, found.names)
    print_prompts(found, tree, backbone, level, node)


def extract_features(
    source: Annotated[str, Say("card, folder, table.csv, shard.tar or a folder of shards")],
    *,
    out: Annotated[Path, Say("the bundle (.safetensors)", "FILE")],
    backbone: Annotated[str, Say("tiny, a folder or a hub name; default: tiny")] = "tiny",
    root: Annotated[str | None, Say("where the data of a card lie (data.root)", "PATH")] = None,
    split: Annotated[Literal["train", "val", "test"], Say("where nothing names one; default: train")] = "train",
    dtype: Annotated[Literal["float16", "float32"], Say("of the features; default: float16")] = "float16",
    bad: Annotated[Literal["fatal", "skip"], Say("pictures that cannot be read; default: fatal")] = "fatal",
    outside: Annotated[bool, Say("paths of a table may leave its folder")] = False,
    part: Annotated[Whole, Say("pictures a part: what a kill costs; default: 4096", "N")] = Whole(4096),  # noqa: B008
    workers: Annotated[int | None, Say("processes that decode, for each that encodes", "N")] = None,
    devices: Annotated[Whole, Say("processes that encode, one a GPU; default: 1", "N")] = Whole(1),  # noqa: B008
    dry_run: Annotated[bool, Say("measure some batches; say how long and how large")] = False,
    images: Annotated[Whole | None, Say("with --dry-run: for so many pictures (2.7e6)", "N")] = None,
) -> None:
    """Encodes the pictures of a data card, a folder (its folders are
    labels), a CSV (path,label[,split]) or WebDataset-style tar shards into
    one hierfit.features/1 file. Work is done in parts: after a kill the
    same command goes on where it was. Memory does not grow with the number
    of pictures. torchrun and srun work, too.
    """
    from hierfit.tools.extract import run
    from hierfit.tools.extract.job import Job
    from hierfit.tools.extract.show import print_extracted, print_facts

    if images and not dry_run:
        raise UserError("--images is for --dry-run", hint="Pictures are counted where they are encoded.")
    job = Job(source, out, backbone, root, split, dtype, bad == "skip", outside, part, workers, devices)
    if dry_run:
        if facts := run.dry_run(job, images):
            print_facts(facts)
    elif found := run.extract(job):
        print_extracted(found, out)


def inspect_features(file: Annotated[Path, Say("a bundle (.safetensors)")]) -> None:
    """Reads and checks a feature bundle, and says what it holds."""
    from hierfit.data.bundle import read_bundle
    from hierfit.tools.extract.show import print_bundle

    print_bundle(read_bundle(file))


def export_features(
    source: Annotated[str, Say("a bundle (.safetensors), or a data card")],
    *,
    out: Annotated[Path, Say("file.npz, folder or file.safetensors", "PATH")],
    split: Annotated[list[str], Say("this split only; can be repeated", "NAME", repeat=True)] = [],  # noqa: B006
    backbone: Annotated[str, Say("of a card: tiny, a folder or a hub name; default: tiny")] = "tiny",
    root: Annotated[str | None, Say("of a card: where its data lie (data.root)", "PATH")] = None,
    cache_dir: Annotated[str | None, Say("of a card: the feature cache (data.cache_dir)", "FOLDER")] = None,
    workers: Annotated[int | None, Say("of a card: processes that decode", "N")] = None,
) -> None:
    """Writes features with their labels for other programs, in the format
    of the ending: .npz, one NumPy file; no ending, a folder of .npy and
    .csv; .safetensors, a bundle. Those of a card with pictures come from
    the cache that runs fill; what is not in it is encoded.
    """
    from hierfit.data.encode import available_cores
    from hierfit.tools.extract.export import check_out, features_of_bundle, features_of_card, write_features
    from hierfit.tools.extract.show import print_exported

    check_out(out)
    path = Path(source).expanduser()
    if path.suffix == ".safetensors":
        bundle, keys = features_of_bundle(path, split)
    else:
        cores = available_cores() if workers is None else workers
        bundle, keys = features_of_card(source, split, root, backbone, cache_dir, cores)
    write_features(out, bundle, keys)
    print_exported(out, bundle)
