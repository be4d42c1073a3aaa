"""Files of strangers, made to harm: ``python tests/bench/bench_fuzz_safety.py [--cases 2000] [--seed 0]``.

Everything that hierfit reads and that may come from elsewhere, changed by what knows its format: checkpoints, bundles,
exported models, adapters, backbones, cached features, run folders, tar shards, tables, YAML, arrays, pickles, pictures.
Code that runs leaves a mark, a secret lies beside each case's folder, and memory and time are bounded (`fuzzing`).
"""

from __future__ import annotations

import io
import json
import pickle
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
import hostile
import hostile_pictures
import hostile_tensors
from fuzzing import MARK, SECRETS, Attempt, Attempts, Reader, main

from hierfit.backbone import Backbone
from hierfit.backbone.source import BUNDLED
from hierfit.cli import main as hierfit
from hierfit.data.bundle import read_bundle
from hierfit.data.card import load_card
from hierfit.data.encode import VectorCache, digest
from hierfit.data.images import Files, open_image
from hierfit.data.layouts.pickles import load_pickle
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.methods import HierLoRA
from hierfit.methods.lora import adapt, open_adapter, save_adapter
from hierfit.predict.answer import Question
from hierfit.predict.predictor import load
from hierfit.run.checkpoints import read_checkpoint
from hierfit.search.grid_file import read_grid
from hierfit.search.sweep_file import read_sweep
from hierfit.tools.extract.sources import Tars, table_samples, tar_samples

Damage = Callable[[bytes, random.Random], tuple[str, bytes]]
TREE = [("a", "p"), ("a", "q"), ("b", "r"), ("b", "s")]
WIDTH = 8
SOUND = 0.02
"""Share of cases whose file is as it was: these must be read."""


def mark_of(folder: Path) -> Path:
    """The file that only code of a case would make."""
    return folder.parent / MARK


# ---------------------------------------------------------------------- sound files


def bundle(folder: Path) -> Path:
    """A bundle of random features, with its card beside it."""
    generator = torch.Generator().manual_seed(0)
    means = F.normalize(torch.randn(len(TREE), WIDTH, generator=generator), dim=-1)
    tensors = {"text.features": means}
    for split, count in {"train4": 16, "val": 8, "test": 7}.items():
        labels = torch.arange(count) % len(TREE)
        noise = torch.randn(count, WIDTH, generator=generator)
        tensors |= {f"{split}.labels": labels, f"{split}.features": F.normalize(means[labels] + noise, dim=-1)}
    facts = {
        "format": "hierfit.features/1",
        "levels": '["top", "leaf"]',
        "paths": json.dumps(TREE),
        "logit_scale": "50",
    }
    save_file(tensors, folder / "bundle.safetensors", {**facts, "backbone": "random/tower", "note": "none"})
    card = {"name": "toy", "version": 1, **dict.fromkeys(("title", "citation", "licence", "obtain"), "none")}
    card |= {"levels": {"top": 2, "leaf": 4}, "layout": {"name": "feature_bundle"}}
    (folder / "toy.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    return folder / "bundle.safetensors"


def run_options(folder: Path) -> list[str]:
    """Of a short run on that bundle."""
    data = {"card": folder / "toy.yaml", "root": bundle(folder), "shots": 4, "batch_size": 8}
    trainer = {"accelerator": "cpu", "max_steps": 2, "val_check_interval": 1, "num_sanity_val_steps": 0}
    trainer |= {"check_val_every_n_epoch": "null", "use_distributed_sampler": "false", "log_every_n_steps": 1}
    method = "--model=hierfit.methods.LatHAdapter", "--model.num_attributes=2", "--model.dimension=4"
    groups = {"data": data, "trainer": trainer}
    flat = [f"--{name}.{key}={value}" for name, group in groups.items() for key, value in group.items()]
    return [*method, *flat, "--wandb=disabled"]


def finished_run(folder: Path) -> Path:
    """The folder of such a run."""
    hierfit(["fit", *run_options(folder), f"--folder={folder / 'run'}"])
    return folder / "run"


# ---------------------------------------------------------------------- readers


def of_file(path: Path, damage: Damage, read: Callable[[], object]) -> Attempts:
    """Each case damages what a sound file holds."""
    sound = path.read_bytes()

    def attempt(rng: random.Random) -> Attempt:
        mutation, content = ("none", sound) if rng.random() < SOUND else damage(sound, rng)
        path.write_bytes(content)
        return mutation, read

    return attempt


def of_files(files: dict[Path, Damage], read: Callable[[], object]) -> Attempts:
    """Each case damages one of several files; the others are sound."""
    sound = {path: path.read_bytes() for path in files}

    def attempt(rng: random.Random) -> Attempt:
        for path, content in sound.items():
            path.write_bytes(content)
        if rng.random() < SOUND:
            return "none", read
        path = rng.choice(list(files))
        mutation, content = files[path](sound[path], rng)
        path.write_bytes(content)
        return f"{path.name}: {mutation}", read

    return attempt


def as_json(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage of a JSON file."""
    return hostile.bad_json(raw.decode(), rng)


def as_table(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage of a CSV file."""
    return hostile.bad_table(raw.decode(), rng)


def as_yaml(folder: Path) -> Damage:
    """Damage of a YAML file."""
    return lambda raw, rng: hostile.bad_yaml(raw.decode(), mark_of(folder), rng)


def as_checkpoint(folder: Path) -> Damage:
    """Damage of a torch checkpoint."""

    def damage(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
        return hostile_tensors.bad_checkpoint(torch.load(io.BytesIO(raw), weights_only=True), mark_of(folder), rng)

    return damage


def checkpoint(folder: Path) -> Attempts:
    path = finished_run(folder) / "checkpoints" / "selected.ckpt"
    return of_file(path, as_checkpoint(folder), lambda: read_checkpoint(path))


def tested_checkpoint(folder: Path) -> Attempts:
    path = finished_run(folder) / "checkpoints" / "selected.ckpt"

    def read() -> None:
        hierfit(["test", *run_options(folder), f"--folder={folder / 'tested'}", f"--ckpt_path={path}"])

    return of_file(path, as_checkpoint(folder), read)


def feature_bundle(folder: Path) -> Attempts:
    path = bundle(folder)
    return of_file(path, hostile_tensors.bad_safetensors, lambda: read_bundle(path))


def cached_features(folder: Path) -> Attempts:
    keys = [digest(str(i)) for i in range(6)]
    VectorCache(folder / "cache").add(keys, torch.randn(6, WIDTH))
    (path,) = (folder / "cache").iterdir()
    return of_file(path, hostile_tensors.bad_safetensors, lambda: VectorCache(folder / "cache").read(keys))


def exported_model(folder: Path) -> Attempts:
    model = finished_run(folder) / "predictor"
    files: dict[Path, Damage] = {
        model / "predictor.json": as_json,
        model / "head.safetensors": hostile_tensors.bad_safetensors,
        model / "taxonomy.csv": as_table,
    }
    features = F.normalize(torch.randn(3, WIDTH), dim=-1)

    def read() -> None:
        opened = load(model)
        question = Question(top=2)
        question.check(opened.taxonomy, opened.calibration)
        if opened.head.nodes.text.shape[1] == WIDTH:
            opened.answers(features, question)

    return of_files(files, read)


def adapter(folder: Path) -> Attempts:
    towers = Backbone.load("tiny")
    adapt(towers, HierLoRA(rank=1).keys)
    save_adapter(towers, folder / "adapter")
    raw = (folder / "adapter" / "adapter_config.json").read_text()
    hidden = folder / "adapter" / "adapter_model.bin"  # what peft falls back to
    regex = ["(a+)+$", "(.*)*x", "(\\w|\\w\\w)*\\.z", "(", "*", ".*"]

    def config(_: bytes, rng: random.Random) -> tuple[str, bytes]:
        hidden.unlink(missing_ok=True)
        facts = json.loads(raw)
        kind = rng.choice(["hidden pickle", "regex", "import", "value", "value", "value", "JSON"])
        if kind == "hidden pickle":
            weights.unlink()
            torch.save({"a": rng.choice(hostile_tensors.calls(mark_of(folder)))}, hidden)
        elif kind == "regex":
            facts[rng.choice(["target_modules", "exclude_modules", "layers_pattern"])] = rng.choice(regex)
        elif kind == "import":
            facts |= {
                "megatron_config": {},
                "megatron_core": "evil",
                "auto_mapping": {"base_model_class": "A", "parent_library": "evil"},
            }
        elif kind == "JSON":
            return hostile.bad_json(raw, rng)
        else:
            key = rng.choice(list(facts))
            facts[key] = rng.choice([*hostile.VALUES, "PISSA", "olora", "loftq", "eva", 10**6, {"x": {"x": 1}}])
        return kind, json.dumps(facts).encode("utf-8", "surrogateescape")

    weights = folder / "adapter" / "adapter_model.safetensors"
    evil(folder)
    files = {folder / "adapter" / "adapter_config.json": config, weights: hostile_tensors.bad_safetensors}

    def read() -> None:
        fresh = Backbone.load("tiny")
        open_adapter(fresh, folder / "adapter")
        fresh.model = fresh.model.merge_and_unload(safe_merge=True)

    return of_files(files, read)


def evil(folder: Path) -> None:
    """A module that leaves the mark when it is imported."""
    for place in (folder, folder / "towers"):
        place.mkdir(exist_ok=True)
        (place / "evil.py").write_text(f"open({str(mark_of(folder))!r}, 'w')\nclass A: pass\n")


def backbone(folder: Path) -> Attempts:
    shutil.copytree(BUNDLED["tiny"], folder / "towers")
    towers = folder / "towers"
    evil(folder)
    remote: dict[str, Any] = dict.fromkeys(("AutoConfig", "AutoModel", "AutoImageProcessor"), "evil.A")
    remote |= {"AutoTokenizer": ["evil.A", "evil.A"]}
    keys = {"auto_map": remote, "trust_remote_code": True, "attn_implementation": "owner/kernel", "use_kernels": True,
            "_attn_implementation": "evil", "quantization_config": {"quant_method": "bitsandbytes"},
            "image_processor_type": "evil.A", "processor_class": "evil.A", "architectures": ["evil.A"],
            "tokenizer_class": "evil.A", "model_type": "evil", "torch_dtype": "evil",
            "custom_pipelines": {"a": {"impl": "evil.A"}}}  # fmt: skip

    def config(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
        facts = json.loads(raw)
        draw = rng.random()
        if draw < 0.3:
            key = rng.choice(list(keys))
            rng.choice([facts, facts.get("text_config", facts), facts.get("vision_config", facts)])[key] = keys[key]
            return "remote code", json.dumps(facts).encode()
        if draw < 0.5:
            inside = (facts, *(value for value in facts.values() if isinstance(value, dict)))
            numbers = [(at, key) for at in inside for key, value in at.items() if type(value) in (int, float)]
            if numbers:
                at, key = rng.choice(numbers)
                at[key] = rng.choice([0, -1, 10**5, 10**9, 2**63, 1.5, 1e300])
                return "number", json.dumps(facts).encode()
        return as_json(raw, rng)

    weights = (towers / "model.safetensors").read_bytes()
    index = towers / "model.safetensors.index.json"

    def shards(_: bytes, rng: random.Random) -> tuple[str, bytes]:
        value = rng.choice([{"a": p} for p in hostile.PATHS] + [[], None, {"a": 1}, {"a": "model.safetensors"}, "x"])
        facts = rng.choice([{"weight_map": value}, {"weight_map": value, "metadata": {}}, [value]])
        return "index", json.dumps(facts).encode("utf-8", "surrogateescape")

    named = ("config.json", "preprocessor_config.json", "tokenizer_config.json")
    files: dict[Path, Damage] = {towers / name: config for name in named}
    files |= {towers / "tokenizer.json": lambda raw, rng: hostile.damaged(raw, rng)}
    files |= {towers / "model.safetensors": lambda raw, rng: hostile_tensors.bad_safetensors(weights, rng)}
    pixels = open_image(_written(folder / "x.png", hostile_pictures.picture(random.Random(0))))

    def read() -> None:
        opened = Backbone.load(str(towers))
        opened.encode_image(opened.preprocess(pixels)[None])
        opened.encode_text(["a gull"])

    of_one = of_files(files, read)

    def attempt(rng: random.Random) -> Attempt:
        index.unlink(missing_ok=True)
        mutation, _ = of_one(rng)
        if rng.random() < 0.1:
            (towers / "model.safetensors").write_bytes(weights)
            mutation, content = shards(b"", rng)
            index.write_bytes(content)
        return mutation, read

    return attempt


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def run_folder(folder: Path) -> Attempts:
    run = finished_run(folder)
    files: dict[Path, Damage] = {
        run / "result.json": as_json,
        run / "config.yaml": as_yaml(folder),
        run / "metrics.csv": as_table,
        run / "taxonomy.csv": as_table,
        run / "test_logits.safetensors": hostile_tensors.bad_safetensors,
        run / "embeddings.safetensors": hostile_tensors.bad_safetensors,
    }

    def read() -> None:
        failed = []
        for ask in (["results", str(run)], ["rescore", str(run)], ["compare", str(run), str(run)],
                    ["report", str(run), "--out", str(folder / "report.html")]):  # fmt: skip
            try:
                hierfit(ask)
            except SystemExit as end:
                failed.append(end)
        if failed:
            raise failed[0]

    return of_files(files, read)


def tar_shard(folder: Path) -> Attempts:
    path = folder / "x.tar"

    def read() -> None:
        bad: UserError | None = None
        for sample in tar_samples([path], "train"):
            try:
                Tars(folder).load(sample.key)
            except UserError as error:
                bad = error
        if bad is not None:
            raise bad

    def attempt(rng: random.Random) -> Attempt:
        mutation, content = hostile_pictures.bad_tar(mark_of(folder), rng)
        path.write_bytes(content)
        return mutation, read

    return attempt


def table(folder: Path) -> Attempts:
    """Through ``features extract`` and through a card; nothing beside the root may be opened."""
    secrets = folder.parent / SECRETS
    keys = [f"{split}{i}.png" for split in ("train", "test") for i in range(len(TREE))]
    for name in (secrets / "secret.png", *(folder / key for key in keys)):
        name.write_bytes(hostile_pictures.picture(random.Random(str(name))))
    splits = ("train", "test")
    rows = [f"{split}{i}.png,{'/'.join(path)},{split}" for split in splits for i, path in enumerate(TREE)]
    path = folder / "manifest.csv"
    path.write_text("\n".join(["path,label,split", *rows, ""]))
    card = {"name": "toy", "version": 1, **dict.fromkeys(("title", "citation", "licence", "obtain"), "none")}
    (folder / "tree.csv").write_text("top,leaf\n" + "".join(f"{a},{b}\n" for a, b in TREE))
    card |= {"taxonomy": "tree.csv", "levels": {"top": 2, "leaf": 4}, "layout": {"name": "manifest"}}
    (folder / "toy.yaml").write_text(yaml.safe_dump(card, sort_keys=False))

    def extracted() -> None:
        files = Files(folder)
        for sample in list(table_samples(path, "train", outside=False)):
            files.load(sample.key)

    def carded() -> None:
        found = read_table(load_card(str(folder / "toy.yaml")), folder)
        assert found.images is not None
        for split in found.splits.values():
            for key in split.keys:
                found.images.load(key)

    both = [of_file(path, as_table, read) for read in (extracted, carded)]
    return lambda rng: rng.choice(both)(rng)


def settings(folder: Path) -> Attempts:
    """Cards, grids and sweeps."""
    card, grid, sweep = folder / "toy.yaml", folder / "grid.yaml", folder / "sweep.yaml"
    bundle(folder)
    grid.write_text(
        "name: g\nconfigs: [base.yaml]\ncards:\n  fieldguide:\nmethods:\n  A: {}\nshots: [1]\nseeds: [1, 2]\n"
    )
    experiments = Path(__file__).parents[2] / "experiments" / "sweeps"
    shutil.copyfile(sorted(experiments.glob("*.yaml"))[0], sweep)
    damage = as_yaml(folder)
    ways = [
        of_file(card, damage, lambda: load_card(str(card))),
        of_file(grid, damage, lambda: read_grid(grid)),
        of_file(sweep, damage, lambda: read_sweep(sweep)),
    ]
    return lambda rng: rng.choice(ways)(rng)


def array(folder: Path) -> Attempts:
    """What ``taxonomy induce`` is given."""
    path, names = folder / "x.npy", folder / "names.txt"
    names.write_text("\n".join(f"{a} {b}" for a, b in TREE))
    np.save(path, np.random.default_rng(0).normal(size=(len(TREE), WIDTH)).astype(np.float32))
    heads = [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (4, 8)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 8), 'x': __import__('os')}",
        "(" * 5000,
        "{'descr': [('a', '<f4'), ('b', 'O')], 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '<U8', 'fortran_order': True, 'shape': (4, 1)}",
        "{'descr': '<c16', 'fortran_order': True, 'shape': (2, 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ()}",
    ]

    def damage(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
        kind = rng.choice(["header", "pickle", "zip", "damage", "damage"])
        if kind == "header":
            head = rng.choice(heads).encode()
            return kind, b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + raw[128:]
        if kind == "pickle":
            return kind, pickle.dumps(rng.choice(hostile_tensors.calls(mark_of(folder))), rng.randrange(5))
        if kind == "zip":
            buffer = io.BytesIO()
            np.savez(buffer, np.zeros(3))
            return kind, buffer.getvalue()
        return hostile.damaged(raw, rng)

    out = folder / "tree.csv"
    return of_file(
        path, damage, lambda: hierfit(["taxonomy", "induce", str(path), str(out), "--names", str(names), "--levels=2"])
    )


def python_pickle(folder: Path) -> Attempts:
    """Of other people's data sets (CIFAR, CoOp's draws)."""
    path = folder / "x.pkl"
    sound: dict[Any, Any] = {
        b"labels": [0, 1],
        b"data": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "a": {"b": [1.5, None]},
    }
    path.write_bytes(pickle.dumps(sound, 2))

    def damage(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
        draw = rng.random()
        if draw < 0.4:
            return "calls a function", pickle.dumps(
                hostile.altered(sound, rng, list(hostile_tensors.calls(mark_of(folder))))[1], rng.randrange(5)
            )
        if draw < 0.6:
            return "pickle", hostile_tensors.bad_pickle(mark_of(folder), rng)
        return hostile.damaged(raw, rng)

    return of_file(path, damage, lambda: load_pickle(path, {"pkg.data": "Datum"}))


def pictures(folder: Path) -> Attempts:
    path = folder / "x.png"

    def attempt(rng: random.Random) -> Attempt:
        mutation, content = hostile_pictures.bad_picture(mark_of(folder), rng)
        path.write_bytes(content)
        least = rng.choice([None, 224])
        return mutation, lambda: open_image(path, least)

    return attempt


READERS = [
    Reader("checkpoint", checkpoint),
    Reader("checkpoint, tested", tested_checkpoint, 0.05),
    Reader("feature bundle", feature_bundle),
    Reader("cached features", cached_features),
    Reader("exported model", exported_model),
    Reader("LoRA adapter", adapter, 0.2),
    Reader("backbone", backbone, 0.2),
    Reader("run folder", run_folder, 0.05),
    Reader("tar shard", tar_shard),
    Reader("table of pictures", table),
    Reader("YAML", settings),
    Reader("array", array),
    Reader("pickle", python_pickle),
    Reader("picture", pictures),
]

if __name__ == "__main__":
    main(READERS, __doc__)
