"""Processes share the classes' texts and, where asked, the towers' weights; they train what one process trains."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from hierfit.backbone import Backbone
from hierfit.cli import main
from hierfit.data.batch import Batch
from hierfit.distributed import keep_alike_only_trained
from hierfit.losses.objective import Objective
from hierfit.methods import HierLoRA
from hierfit.methods.head import Head
from hierfit.methods.nodes import ReadNodes
from hierfit.results.card import ResultCard
from hierfit.run import saving
from hierfit.run.train import configure, train
from hierfit.taxonomy import Taxonomy
from tests.unit.methods.made import towers_task

ROOT = Path(__file__).parents[2]
TREE = Taxonomy.from_paths([(f"kind {i // 3}", f"butterfly {i}") for i in range(8)])  # 11 nodes
BATCHES = [7, 2, 6]  # of all processes together: of the second, the last of three has nothing

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "sharded": {"shard": True},
    "sharded, chunks, activations anew": {"shard": True, "text_chunk": 2, "gradient_checkpointing": True},
    "sharded, DoRA, chunks": {"shard": True, "dora": True, "text_chunk": 2},
    "sharded, last block": {"shard": True, "layers": "1:", "learn_scale": True},
    "sharded, image": {"shard": True, "towers": "image"},
}
OF_THREE = ("plain", "sharded")


class Step(nn.Module):
    """The loss as a module, for DDP."""

    def __init__(self, method: HierLoRA) -> None:
        super().__init__()
        self.method = method
        keep_alike_only_trained(self)

    def forward(self, batch: Batch) -> Tensor:
        return self.method.loss(batch)["loss"]


def made(keys: dict[str, Any]) -> HierLoRA:
    """HierLoRA with its default objective on the tiny CLIP, of which two blocks a tower are left."""
    backbone = Backbone.load("tiny")
    for tower in (backbone.model.vision_model, backbone.model.text_model):
        tower.encoder.layers = tower.encoder.layers[:2]
    torch.manual_seed(0)
    method = HierLoRA(rank=2, dropout=0.0, **keys)
    method.build(towers_task(backbone, TREE))
    return method


def tower_bytes(backbone: Backbone) -> int:
    """Of the frozen weights of both towers that this process holds."""
    towers = nn.ModuleList([backbone.model.vision_model, backbone.model.text_model])
    frozen = [p for p in towers.parameters() if not p.requires_grad]
    return sum((p.to_local() if isinstance(p, DTensor) else p).nbytes for p in frozen)


def outcome(keys: dict[str, Any], rank: int, world: int) -> dict[str, Any]:
    """Logits before and after a few clipped steps, the steps' gradients, what was trained; and what it took."""
    method = made(keys)
    texts: list[int] = []
    encode = method.backbone.encode_tokens

    def counted(ids: Tensor, context: Tensor | None = None) -> Tensor:
        texts.append(len(ids))
        return encode(ids, context)

    method.backbone.encode_tokens = counted  # type: ignore[method-assign]
    step: nn.Module = Step(method)
    if world > 1:
        step = DistributedDataParallel(step)
        assert not step.modules_buffers  # else they would be sent around at every step
    generator = torch.Generator().manual_seed(1)
    side = method.backbone.image_size
    pictures = torch.randn(7, 3, side, side, generator=generator)
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.5)
    found: dict[str, Any] = {}

    def evaluated() -> Tensor:
        method.eval()
        with torch.inference_mode():  # as Lightning does on a GPU; training must stand it
            return torch.stack([method(pictures), method(pictures)])

    found["logits before"], before = evaluated(), sum(texts)
    method.train()
    for number, size in enumerate(BATCHES):
        rows = torch.randint(TREE.num_leaves, (size,), generator=generator)
        own = slice(rank, None, world)
        optimizer.zero_grad()
        step(Batch(pictures[:size][own], TREE.leaf_paths[rows][own], rows[own])).backward()
        found |= {f"gradient {number} of {name}": p.grad.clone() for name, p in trained.items() if p.grad is not None}
        nn.utils.clip_grad_norm_(trained.values(), 0.1)
        optimizer.step()
    during = sum(texts) - before
    found["logits after"] = evaluated()
    facts = {"evaluation": before, "training": during, "bytes": tower_bytes(method.backbone)}
    return {**{name: p.detach().clone() for name, p in trained.items()}, **found, "facts": facts}


def context_gradients(rank: int, world: int) -> dict[str, Tensor]:
    """Of CoOp's contexts, one for all nodes and one a node, after one step's backward pass."""
    found = {}
    for count in (1, TREE.num_nodes):
        backbone = made({}).backbone
        generator = torch.Generator().manual_seed(2)
        context = torch.randn(count, 2, backbone.text_width, generator=generator)
        features = torch.nn.functional.normalize(torch.randn(5, backbone.embed_dim, generator=generator), dim=-1)
        own_context = nn.Parameter(context)
        task, everyone = towers_task(backbone.requires_grad_(False), TREE), torch.arange(TREE.num_nodes)
        classifier = Head(ReadNodes(backbone, task, 3, own_context, everyone), 20.0)
        keep_alike_only_trained(classifier)
        model = DistributedDataParallel(classifier) if world > 1 else classifier
        own = slice(rank, None, world)
        Objective({"level_ce": 1}, TREE)(model(features[own]), TREE.leaf_paths[:5][own])["loss"].backward()
        assert own_context.grad is not None
        found[f"{count} contexts"] = own_context.grad
    return found


def rank_main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet{world}", rank=rank, world_size=world)
    cases = CASES if world == 2 else {name: CASES[name] for name in OF_THREE}
    torch.save({name: outcome(keys, rank, world) for name, keys in cases.items()}, folder / f"{world}-{rank}.pt")
    torch.save(context_gradients(rank, world), folder / f"contexts-{world}-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_any_number_of_processes_takes_the_same_steps(tmp_path: Path) -> None:
    alone = {name: outcome(keys, 0, 1) for name, keys in CASES.items()}
    contexts = context_gradients(0, 1)
    assert alone["plain"]["facts"]["training"] == 3 * TREE.num_nodes
    for world in (2, 3):
        mp.start_processes(rank_main, (world, tmp_path), world, start_method="fork")
        share = -(-TREE.num_nodes // world)
        for rank in range(world):
            for key, value in torch.load(tmp_path / f"contexts-{world}-{rank}.pt", weights_only=True).items():
                torch.testing.assert_close(value, contexts[key], rtol=1e-5, atol=1e-6)
            for name, found in torch.load(tmp_path / f"{world}-{rank}.pt", weights_only=True).items():
                expected, facts = dict(alone[name]), found.pop("facts")
                whole = expected.pop("facts")
                assert found.keys() == expected.keys()
                for key, value in found.items():
                    torch.testing.assert_close(
                        value, expected[key], rtol=1e-5, atol=1e-6, msg=lambda m, k=key, n=name: f"{n}, {k}: {m}"
                    )
                texts = 0 if CASES[name].get("towers") == "image" else share
                # Evaluated once for both passes; more than one chunk is computed once more on the way back.
                chunks = 2 if texts > CASES[name].get("text_chunk", 256) else 1
                assert (facts["evaluation"], facts["training"]) == (texts, 3 * chunks * texts)
                part = 1 / world if "sharded" in name else 1
                assert facts["bytes"] / whole["bytes"] == pytest.approx(part, rel=0.02)


class KillAt(Callback):
    """Ends this process at the end of a step, as nothing that could be heard of does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def process(rank: int, world: int, port: int, arguments: list[str], kill_at: int | None, log: Path) -> None:
    """What torchrun starts."""
    torch.set_num_threads(1)
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "a test"}
    saving._LOOK_EVERY = 2
    with log.open("a", buffering=1) as file:
        sys.stdout = sys.stderr = file
        if kill_at is not None:
            train(configure([*arguments[1:], "--controls=null"]), [KillAt(kill_at)])
        main(arguments)


def launched(world: int, arguments: list[str], log: Path, kill_at: int | None = None) -> list[int | None]:
    """Exit codes of a command's processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    whole = [*arguments, f"--trainer.devices={world}"]
    started = [context.Process(target=process, args=(r, world, port, whole, kill_at, log)) for r in range(world)]
    for one in started:
        one.start()
    for one in started:
        one.join(300)
    return [one.exitcode for one in started]


def settings(folder: Path) -> list[str]:
    """Of a short run on eight drawn species; an odd number of batches in evaluation."""
    content = yaml.safe_load((ROOT / "data_cards" / "fieldguide.yaml").read_text(encoding="utf-8"))
    content |= {"name": "small", "levels": {"family": 2, "genus": 4, "species": 8}}
    per_leaf = {"train": 4, "val": 2, "test": 3}
    content["layout"] |= {"guide": {"families": 2, "genera": 2, "species": 2}, "per_leaf": per_leaf}
    (folder / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    model = {"rank": 4, "dropout": 0.0, "warmup": 0.0}
    data = {"card": folder / "small.yaml", "cache_dir": folder / "cache", "num_workers": 0, "shots": 4}
    data |= {"batch_size": 7, "eval_batch_size": 4, "augment": "none"}
    trainer = {"accelerator": "cpu", "max_steps": 6, "val_check_interval": 3, "gradient_clip_val": 0.5}
    groups = {"model": model, "data": data, "trainer": trainer}
    return [
        *(f"--config={ROOT}/experiments/{name}.yaml" for name in ("base", "hier_lora")),
        *(f"--{group}.{key}={value}" for group, keys in groups.items() for key, value in keys.items()),
        "--wandb=disabled",
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_sharded_run_that_was_killed_ends_as_one_process_does(tmp_path: Path) -> None:
    common, log = settings(tmp_path), tmp_path / "log"
    fit = ["fit", *common, "--controls=null", "--save_every=0"]
    one, two, tested = (tmp_path / name for name in ("one", "two", "tested"))
    assert launched(1, [*fit, f"--folder={one}"], log) == [0], log.read_text()
    sharded = [*fit, f"--folder={two}", "--model.shard=true"]
    assert launched(2, sharded, log, kill_at=5) == [-signal.SIGKILL] * 2, log.read_text()
    assert launched(2, sharded, log) == [0, 0], log.read_text()
    assert "HierLoRA: goes on from step 4" in log.read_text()

    selected = two / "checkpoints" / "selected.ckpt"
    arguments = ["test", *common, "--controls=null", f"--folder={tested}", f"--ckpt_path={selected}"]
    assert launched(1, arguments, log) == [0], log.read_text()
    cards = [ResultCard.read(folder) for folder in (one, two, tested)]
    for decoder, figures in cards[0].metrics.items():
        # Images that are nearly equally sure may change places in the curve, and cross a bin's edge.
        assert cards[1].metrics[decoder] == pytest.approx(figures, abs=2e-3)
        assert cards[2].metrics[decoder] == pytest.approx(figures, abs=2e-3)
    assert (cards[0].parameters, cards[0].val) == (cards[1].parameters, cards[1].val)
    logits = [load_file(folder / "test_logits.safetensors")["logits"] for folder in (one, two, tested)]
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=0, atol=1e-3)  # of a scale of 100
    kept = [torch.load(folder / "checkpoints" / "selected.ckpt", weights_only=True) for folder in (one, two)]
    assert kept[0]["state_dict"].keys() == kept[1]["state_dict"].keys()
    assert all(".lora_" in name or name == "log_scale" for name in kept[1]["state_dict"])
    adapters = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, two)]
    assert {k: v.shape for k, v in adapters[0].items()} == {k: v.shape for k, v in adapters[1].items()}


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("fsdp", "fsdp"),
        ("ddp_fork", "ddp_fork"),
        ('{"class_path": "lightning.pytorch.strategies.ModelParallelStrategy"}', "ModelParallelStrategy"),
    ],
)
def test_strategies_that_would_train_something_else_are_refused(
    strategy: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", *settings(tmp_path), f"--folder={tmp_path / 'run'}", f"--trainer.strategy={strategy}"])
    said = capsys.readouterr().err
    assert f"trainer.strategy: {name} does not fit" in said
    assert "--model.shard=true" in said
    assert not (tmp_path / "run").exists()
