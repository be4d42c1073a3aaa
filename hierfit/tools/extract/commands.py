"""``hierfit features``: extract features, look at them, and hand them on to other programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hierfit.errors import UserError


def features(arguments: Sequence[str]) -> None:
    """Runs one of the commands on features."""
    parser = argparse.ArgumentParser(
        prog="hierfit features", description="Features of pictures, as one file.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _extract_options(
        commands.add_parser("extract", help="encode pictures; killed, the same command goes on", allow_abbrev=False)
    )
    _inspect_options(commands.add_parser("inspect", help="what a bundle holds", allow_abbrev=False))
    _export_options(commands.add_parser("export", help="for other programs: NumPy, CSV", allow_abbrev=False))
    options = parser.parse_args(arguments)
    options.run(options)


def _extract_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Encode the pictures of a data card, a folder (its folders are labels), a CSV (path,label[,split]) or "
        "WebDataset-style tar shards into one hierfit.features/1 file. Work is done in parts: after a kill the same "
        "command goes on where it was. Memory does not grow with the number of pictures. torchrun and srun work, too."
    )
    parser.add_argument("source", metavar="SOURCE", help="card, folder, table.csv, shard.tar or a folder of shards")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bundle (.safetensors)")
    parser.add_argument("--backbone", default="tiny", help="tiny, a folder or a hub name (default: tiny)")
    parser.add_argument("--root", metavar="PATH", help="where the data of a card lie (data.root)")
    parser.add_argument("--split", default="train", choices=("train", "val", "test"), help="where nothing names one")
    parser.add_argument("--dtype", default="float16", choices=("float16", "float32"), help="of the features")
    parser.add_argument("--bad", default="fatal", choices=("fatal", "skip"), help="pictures that cannot be read")
    parser.add_argument("--outside", action="store_true", help="paths of a table may leave its folder")
    parser.add_argument("--part", type=_whole, default=4096, metavar="N", help="pictures a part: what a kill costs")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode, for each that encodes")
    parser.add_argument("--devices", type=_whole, default=1, metavar="N", help="processes that encode, one a GPU")
    parser.add_argument("--dry-run", action="store_true", help="measure some batches; say how long and how large")
    parser.add_argument("--images", type=_number, metavar="N", help="with --dry-run: for so many pictures (2.7e6)")
    parser.set_defaults(run=_extract)


def _extract(options: argparse.Namespace) -> None:
    from hierfit.tools.extract.dry_run import dry_run
    from hierfit.tools.extract.run import extract, open_job
    from hierfit.tools.extract.show import print_extracted, print_facts

    if options.images and not options.dry_run:
        raise UserError("--images is for --dry-run", hint="Pictures are counted where they are encoded.")
    if options.dry_run:
        job, source = open_job(options)
        print_facts(dry_run(job, source, options.images, options.devices))
    elif found := extract(options):
        print_extracted(found, options.out)


def _inspect_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Read and check a feature bundle, and say what it holds."
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from hierfit.data.bundle import read_bundle
    from hierfit.tools.extract.show import print_bundle

    print_bundle(read_bundle(options.file))


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write features with their labels for other programs, in the format of the ending: .npz, one NumPy file; no "
        "ending, a folder of .npy and .csv; .safetensors, a bundle. Those of a card with pictures come from the cache "
        "that runs fill; what is not in it is encoded."
    )
    parser.add_argument("source", metavar="SOURCE", help="a bundle (.safetensors), or a data card")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="file.npz, folder or file.safetensors")
    parser.add_argument("--split", action="append", metavar="NAME", help="this split only; can be repeated")
    parser.add_argument("--backbone", default="tiny", help="of a card: tiny, a folder or a hub name (default: tiny)")
    parser.add_argument("--root", metavar="PATH", help="of a card: where its data lie (data.root)")
    parser.add_argument("--cache-dir", metavar="FOLDER", help="of a card: the feature cache (data.cache_dir)")
    parser.add_argument("--workers", type=int, metavar="N", help="of a card: processes that decode")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from hierfit.data.encode import available_cores
    from hierfit.tools.extract.export import check_out, write_features
    from hierfit.tools.extract.gather import features_of_bundle, features_of_card
    from hierfit.tools.extract.show import print_exported

    check_out(options.out)
    source = Path(options.source).expanduser()
    if source.suffix == ".safetensors":
        features = features_of_bundle(source, options.split)
    else:
        workers = available_cores() if options.workers is None else options.workers
        features = features_of_card(
            options.source, options.split, options.root, options.backbone, options.cache_dir, workers
        )
    write_features(options.out, features)
    print_exported(options.out, features)


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _number(text: str) -> int:
    try:
        return max(int(float(text)), 1)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pictures") from None
