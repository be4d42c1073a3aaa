"""``hierfit data``: what data cards there are, whether data are as a card says, and cards for data of one's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def data(arguments: Sequence[str]) -> None:
    """Runs one of the commands on data."""
    parser = argparse.ArgumentParser(
        prog="hierfit data", description="Look at data sets and their cards.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _check_options(
        commands.add_parser("check", help="is everything there, sound, and nothing twice?", allow_abbrev=False)
    )
    _new_options(commands.add_parser("new", help="a card for pictures of your own", allow_abbrev=False))
    _list_options(commands.add_parser("list", help="all data cards: levels, images, licence", allow_abbrev=False))
    _prompts_options(commands.add_parser("prompts", help="what each node becomes for a text tower", allow_abbrev=False))
    options = parser.parse_args(arguments)
    options.run(options)


def _check_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Hold a data set against its card: counts, labels, splits, every picture decoded, the same picture twice "
        "(exactly and nearly). Exits with 1 where something must be mended."
    )
    parser.add_argument("card", metavar="CARD", help="name of a card, or its YAML file")
    parser.add_argument("--root", metavar="PATH", help="folder or file of the data (data.root)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found, lists in full")
    parser.add_argument("--workers", type=_whole, metavar="N", help="processes that decode; default: one a core")
    parser.add_argument("--no-pictures", action="store_true", help="labels and counts only; nothing is decoded")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> None:
    from hierfit.data.card import load_card
    from hierfit.data.encode import available_cores
    from hierfit.tools.check.audit import audit
    from hierfit.tools.check.report import print_audit, write_audit

    workers = options.workers or available_cores()
    found = audit(load_card(options.card), options.root, workers, not options.no_pictures)
    print_audit(found)
    if options.json:
        write_audit(found, options.json)
        print(f"Written to {options.json}")
    if found.problems or (options.strict and found.warnings):
        sys.exit(1)


def _new_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a commented data card and its tree from what lies in a folder: folders whose nesting is the tree (below "
        "train, val and test, or without); a table that names the pictures (CSV, JSON lines, Excel; exports of COCO, "
        "Label Studio, CoOp); a data set that the Hugging Face hub's datasets wrote; or a file of features. The "
        "pictures stay as they are."
    )
    parser.add_argument(
        "root", metavar="FOLDER", type=Path, help="folder of the pictures, or the table that names them"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the card; default: data_cards/FOLDER.yaml, or here")
    parser.add_argument("--kind", metavar="WORDS", help='what all classes are, for the prompts: "bird"')
    parser.add_argument("--levels", metavar="LIST", help="names of the levels, coarse to fine: order,family,species")
    parser.add_argument("--taxonomy", type=Path, metavar="FILE", help="a tree to use; the labels are looked up in it")
    parser.add_argument("--path-column", metavar="NAME", help="of the picture (tables)")
    parser.add_argument("--label-columns", metavar="LIST", help="of the label, coarse to fine (tables)")
    parser.add_argument("--split-column", metavar="NAME", help="of the split (tables)")
    parser.add_argument(
        "--val", type=float, help="share to validate on, where splits are drawn (default 0.1) or none is there for it"
    )
    parser.add_argument("--test", type=float, default=0.2, help="share to test on, where splits are drawn; default 0.2")
    parser.add_argument("--seed", type=int, default=0, help="of that draw; default 0")
    parser.add_argument("--workers", type=_whole, metavar="N", help="processes that decode; default: one a core")
    parser.add_argument("--no-pictures", action="store_true", help="do not look at the pictures, only at their names")
    parser.add_argument("--force", action="store_true", help="overwrite a card that is there")
    parser.set_defaults(run=_new)


def _new(options: argparse.Namespace) -> None:
    from hierfit.data.encode import available_cores
    from hierfit.taxonomy.readers import read_taxonomy
    from hierfit.tools.new.found import Options
    from hierfit.tools.new.new import new_card
    from hierfit.tools.new.show import print_written

    wanted = Options(
        levels=_listed(options.levels),
        path=options.path_column,
        label=_listed(options.label_columns),
        split=options.split_column,
        taxonomy=None if options.taxonomy is None else read_taxonomy(options.taxonomy),
        val=options.val,
        test=options.test,
        seed=options.seed,
    )
    workers = options.workers or available_cores()
    written = new_card(options.root, options.out, wanted, options.kind, workers, not options.no_pictures, options.force)
    print_written(written)


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _list_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "List the data cards there are."
    parser.add_argument("--markdown", type=Path, metavar="FOLDER", help="a page of the cards of one folder instead")
    parser.set_defaults(run=_list)


def _list(options: argparse.Namespace) -> None:
    from hierfit.tools.cards import cards_page, print_cards

    if options.markdown:
        print(cards_page(options.markdown), end="")
    else:
        print_cards()


def _prompts_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the texts of each node as a text tower will read them, with their length in tokens: templates filled "
        "in, ancestors added to ambiguous names, descriptions."
    )
    parser.add_argument("card", metavar="CARD", help="name of a card, or its YAML file")
    parser.add_argument("--root", metavar="PATH", help="the data, where a card takes its tree from them")
    parser.add_argument("--level", help="nodes of this level only")
    parser.add_argument("--node", help="this node (a name, or a path with /) and those below it only")
    parser.add_argument("--backbone", default="tiny", help="whose tokens are counted; default: tiny")
    parser.set_defaults(run=_prompts)


def _prompts(options: argparse.Namespace) -> None:
    from hierfit.data.card import load_card
    from hierfit.data.names import renamed
    from hierfit.data.table import read_table
    from hierfit.tools.prompts import print_prompts

    card = load_card(options.card)
    own = card.taxonomy
    tree = read_table(card, options.root).taxonomy if own is None else renamed(own, card.names)
    print_prompts(card, tree, options.backbone, options.level, options.node)


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)
