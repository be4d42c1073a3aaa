"""Files of strangers, made to harm; alone by ``python tests/bench/bench_fuzz_safety.py [--cases 2000] [--seed 0]``.

Everything that hierfit reads and that may come from elsewhere, changed by what knows its format: checkpoints, bundles,
exported models, adapters, backbones, cached features, run folders, tar shards, tables, YAML, arrays, pickles.
Code that runs leaves a mark, a secret lies beside each case's folder, and memory and time are bounded (`fuzzing`).
"""

from __future__ import annotations

import io
import json
import pickle
import random
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from fuzzing import SECRETS, Attempt, Attempts, Reader, main, of_files, one_of
from hostile import MARK, PATHS, VALUES, Damage, bad_json, bad_table, bad_yaml, damaged, dumped
from hostile_pictures import bad_tar, picture, stored
from hostile_tensors import CALLS, bad_checkpoint, bad_pickle, bad_safetensors
from toy import ROOT, write_bundle

from hierfit.backbone import Backbone
from hierfit.backbone.source import BUNDLED
from hierfit.cli import main as hierfit
from hierfit.data.bundle import read_bundle
from hierfit.data.encode import VectorCache, digest
from hierfit.data.images import Files
from hierfit.data.layouts.pickles import load_pickle
from hierfit.errors import UserError
from hierfit.methods import HierLoRA
from hierfit.methods.lora import adapt, open_adapter, save_adapter
from hierfit.predict.answer import Question
from hierfit.predict.predictor import load
from hierfit.run.checkpoints import read_checkpoint
from hierfit.search.grid_file import read_grid
from hierfit.search.sweep_file import read_sweep
from hierfit.taxonomy import Taxonomy
from hierfit.tools.extract.sources import Tars, table_samples, tar_samples

TREE = [("a", "p"), ("a", "q"), ("b", "r"), ("b", "s")]
WIDTH = 8


def run_options(folder: Path) -> list[str]:
    """Of a short run on a bundle of random features."""
    facts = {"logit_scale": "50", "backbone": "random/tower", "note": "none"}
    data = write_bundle(folder, Taxonomy.from_paths(TREE), width=WIDTH, shots=4, **facts)
    model = ["--model=LatHAdapter", "--model.num_attributes=2", "--model.dimension=4", "--data.batch_size=8"]
    trainer = [f"--trainer.{key}" for key in ("accelerator=cpu", "max_steps=2", "val_check_interval=1")]
    return [f"--config={ROOT / 'experiments' / 'base.yaml'}", *data, *model, *trainer, "--wandb=disabled"]


def finished_run(folder: Path) -> Path:
    """The folder of such a run."""
    hierfit(["fit", *run_options(folder), f"--folder={folder / 'run'}"])
    return folder / "run"


def checkpoint(folder: Path) -> Attempts:
    path = finished_run(folder) / "checkpoints" / "selected.ckpt"
    return of_files({path: bad_checkpoint}, lambda: read_checkpoint(path))


def tested_checkpoint(folder: Path) -> Attempts:
    path = finished_run(folder) / "checkpoints" / "selected.ckpt"
    line = ["test", *run_options(folder), f"--folder={folder / 'tested'}", f"--ckpt_path={path}"]
    return of_files({path: bad_checkpoint}, lambda: hierfit(line))


def feature_bundle(folder: Path) -> Attempts:
    run_options(folder)
    path = folder / "bundle.safetensors"
    return of_files({path: bad_safetensors}, lambda: read_bundle(path))


def cached_features(folder: Path) -> Attempts:
    keys = [digest(str(i)) for i in range(6)]
    VectorCache(folder / "cache").add(keys, torch.randn(6, WIDTH))
    (path,) = (folder / "cache").iterdir()
    return of_files({path: bad_safetensors}, lambda: VectorCache(folder / "cache").read(keys))


def exported_model(folder: Path) -> Attempts:
    model = finished_run(folder) / "predictor"
    files = {model / "predictor.json": bad_json, model / "head.safetensors": bad_safetensors}
    features = F.normalize(torch.randn(3, WIDTH), dim=-1)

    def read() -> None:
        opened, question = load(model), Question(top=2)
        question.check(opened.taxonomy, opened.calibration)
        if opened.head.nodes.text.shape[1] == WIDTH:
            opened.answers(features, question)

    return of_files({**files, model / "taxonomy.csv": bad_table}, read)


def adapter(folder: Path) -> Attempts:
    towers, place = Backbone.load("tiny"), folder / "adapter"
    adapt(towers, HierLoRA(rank=1).keys)
    save_adapter(towers, place)
    weights, hidden = place / "adapter_model.safetensors", place / "adapter_model.bin"  # what peft falls back to
    write_evil(folder)

    def config(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
        facts = json.loads(raw)
        kind = rng.choice(["hidden pickle", "regex", "import", "value", "value", "value", "JSON"])
        match kind:
            case "hidden pickle":
                weights.unlink()
                torch.save({"a": rng.choice(CALLS)}, hidden)
            case "regex":
                regex = rng.choice(["(a+)+$", "(.*)*x", "(\\w|\\w\\w)*\\.z", "(", "*", ".*"])
                facts[rng.choice(["target_modules", "exclude_modules", "layers_pattern"])] = regex
            case "import":
                facts |= {"megatron_config": {}, "megatron_core": "evil"}
                facts["auto_mapping"] = {"base_model_class": "A", "parent_library": "evil"}
            case "value":
                values = [*VALUES, "PISSA", "olora", "loftq", "eva", 10**6, {"x": {"x": 1}}]
                facts[rng.choice(list(facts))] = rng.choice(values)
            case "JSON":
                return bad_json(raw, rng)
        return kind, dumped(facts)

    def read() -> None:
        fresh = Backbone.load("tiny")
        open_adapter(fresh, place)
        fresh.model = fresh.model.merge_and_unload(safe_merge=True)

    of_one = of_files({place / "adapter_config.json": config, weights: bad_safetensors}, read)

    def attempt(rng: random.Random) -> Attempt:
        hidden.unlink(missing_ok=True)
        return of_one(rng)

    return attempt


def write_evil(*folders: Path) -> None:
    """A module that leaves the mark when it is imported."""
    for folder in folders:
        (folder / "evil.py").write_text(f"open({MARK!r}, 'w')\nclass A: pass\n")


REMOTE: dict[str, Any] = {
    "auto_map": {**dict.fromkeys(("AutoConfig", "AutoModel", "AutoImageProcessor"), "evil.A"),
                 "AutoTokenizer": ["evil.A", "evil.A"]},
    "trust_remote_code": True, "attn_implementation": "owner/kernel", "use_kernels": True,
    "_attn_implementation": "evil", "quantization_config": {"quant_method": "bitsandbytes"},
    "image_processor_type": "evil.A", "processor_class": "evil.A", "architectures": ["evil.A"],
    "tokenizer_class": "evil.A", "model_type": "evil", "torch_dtype": "evil",
    "custom_pipelines": {"a": {"impl": "evil.A"}},
}  # fmt: skip
"""What asks transformers to run code from a model's folder or from elsewhere."""


def bad_config(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Of a model."""
    facts, draw = json.loads(raw), rng.random()
    if draw < 0.3:
        key = rng.choice(list(REMOTE))
        place = rng.choice([facts, facts.get("text_config", facts), facts.get("vision_config", facts)])
        place[key] = REMOTE[key]
        return "remote code", dumped(facts)
    inside = (facts, *(value for value in facts.values() if isinstance(value, dict)))
    numbers = [(at, key) for at in inside for key, value in at.items() if type(value) in (int, float)]
    if draw < 0.5 and numbers:
        at, key = rng.choice(numbers)
        at[key] = rng.choice([0, -1, 10**5, 10**9, 2**63, 1.5, 1e300])
        return "number", dumped(facts)
    return bad_json(raw, rng)


def bad_index(_: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Of shards."""
    shards = rng.choice([{"a": p} for p in PATHS] + [[], None, {"a": 1}, {"a": "model.safetensors"}, "x"])
    return "index", dumped(rng.choice([{"weight_map": shards, "metadata": {}}, {"weight_map": shards}, [shards]]))


def backbone(folder: Path) -> Attempts:
    towers = shutil.copytree(BUNDLED["tiny"], folder / "towers")
    write_evil(folder, towers)
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(towers / "model.safetensors"), "model.safetensors")}
    (towers / "model.safetensors.index.json").write_bytes(dumped(index))
    pixels = picture(0)
    files: dict[Path, Damage] = {
        towers / name: bad_config for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json")
    }
    files |= {towers / "tokenizer.json": damaged, towers / "model.safetensors": bad_safetensors}
    files[towers / "model.safetensors.index.json"] = bad_index

    def read() -> None:
        opened = Backbone.load(str(towers))
        opened.encode_image(opened.preprocess(pixels)[None])
        opened.encode_text(["a gull"])

    return of_files(files, read)


def run_folder(folder: Path) -> Attempts:
    run = finished_run(folder)
    files: dict[Path, Damage] = {run / "result.json": bad_json, run / "config.yaml": bad_yaml}
    files |= dict.fromkeys((run / "metrics.csv", run / "taxonomy.csv"), bad_table)
    files |= dict.fromkeys((run / "test_logits.safetensors", run / "embeddings.safetensors"), bad_safetensors)

    def read() -> None:
        failed: SystemExit | None = None
        for ask in (["results", str(run)], ["rescore", str(run)], ["compare", str(run), str(run)],
                    ["report", str(run), "--out", str(folder / "report.html")]):  # fmt: skip
            try:
                hierfit(ask)
            except SystemExit as end:
                failed = failed or end
        if failed:
            raise failed

    return of_files(files, read)


def tar_shard(folder: Path) -> Attempts:
    path = folder / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in (("0.png", stored(picture(0))), ("0.txt", b"a/b")):
            (folder / name).write_bytes(content)
            tar.add(folder / name, name)

    def read() -> None:
        bad: UserError | None = None
        for sample in tar_samples([path], "train"):
            try:
                Tars(folder).load(sample.key)
            except UserError as error:
                bad = error
        if bad is not None:
            raise bad

    return of_files({path: bad_tar}, read)


def table(folder: Path) -> Attempts:
    """Through ``features extract``; nothing beside the root may be opened."""
    path, rows = folder / "manifest.csv", ["path,label,split"]
    for i, label in enumerate(map("/".join, TREE)):
        (folder / f"{i}.png").write_bytes(stored(picture(i)))
        rows.append(f"{i}.png,{label},train")
    (folder.parent / SECRETS / "secret.png").write_bytes(stored(picture(0)))
    path.write_text("\n".join([*rows, ""]))

    def read() -> None:
        for sample in list(table_samples(path, "train", outside=False)):
            Files(folder).load(sample.key)

    return of_files({path: bad_table}, read)


GRID = "name: g\nconfigs: [base.yaml]\ncards:\n  fieldguide:\nmethods:\n  A: {}\nshots: [1]\nseeds: [1, 2]\n"


def settings(folder: Path) -> Attempts:
    """Grids and sweeps."""
    grid, sweep = folder / "grid.yaml", folder / "sweep.yaml"
    grid.write_text(GRID)
    shutil.copyfile(min((ROOT / "experiments" / "sweeps").glob("*.yaml")), sweep)
    return one_of(
        of_files({grid: bad_yaml}, lambda: read_grid(grid)), of_files({sweep: bad_yaml}, lambda: read_sweep(sweep))
    )


HEADERS = [
    *(f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}}}" for kind, fortran, shape in (
        ("<f4", False, (10**12, 8)), ("|O", False, (4, 8)), ("<f4", False, (-1, 8)), ("<U8", True, (4, 1)),
        ("<c16", True, (2, 1)), ("<f4", False, ()))),
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 8), 'x': __import__('os')}", "(" * 5000,
    "{'descr': [('a', '<f4'), ('b', 'O')], 'fortran_order': False, 'shape': (4,)}",
]  # fmt: skip


def bad_array(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Another header, a pickle or an archive in its place, or damage."""
    kind = rng.choice(["header", "pickle", "zip", "damage", "damage"])
    if kind == "header":
        head = rng.choice(HEADERS).encode()
        return kind, b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + raw[128:]
    if kind == "pickle":
        return kind, pickle.dumps(rng.choice(CALLS), rng.randrange(5))
    if kind == "zip":
        buffer = io.BytesIO()
        np.savez(buffer, np.zeros(3))
        return kind, buffer.getvalue()
    return damaged(raw, rng)


def array(folder: Path) -> Attempts:
    """What ``taxonomy induce`` is given."""
    path, names, out = folder / "x.npy", folder / "names.txt", folder / "tree.csv"
    names.write_text("\n".join(f"{a} {b}" for a, b in TREE))
    np.save(path, np.random.default_rng(0).normal(size=(len(TREE), WIDTH)).astype(np.float32))
    line = ["taxonomy", "induce", str(path), str(out), "--names", str(names), "--levels=2"]
    return of_files({path: bad_array}, lambda: hierfit(line))


def python_pickle(folder: Path) -> Attempts:
    """Of other people's data sets (CIFAR, CoOp's draws)."""
    sound = {b"labels": [0, 1], b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "a": {"b": [1.5, None]}}
    (path := folder / "x.pkl").write_bytes(pickle.dumps(sound, 2))
    return of_files({path: bad_pickle}, lambda: load_pickle(path, {"pkg.data": "Datum"}))


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
]

if __name__ == "__main__":
    main(READERS, __doc__)
