"""The trainer of a run: what its keys name, as objects; and the processes that it brings together, which torchrun or
SLURM may have started one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy

from hierfit.config.signature import class_at
from hierfit.data.encode import available_cores
from hierfit.errors import UserError
from hierfit.run.checkpoints import Checkpoints
from hierfit.run.configure import Config
from hierfit.run.console import StepBar
from hierfit.run.draft import TRAINER_CLASSES, class_path

_STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def made(name: str, kind: type, given: Mapping[str, Any]) -> Any:
    """An object of a class; what it refuses is told as it says it."""
    try:
        return kind(**given)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {error}") from error


class _Unprofiled(PassThroughProfiler):
    """Lightning's default, which makes 56 generators a step to do nothing: a twentieth of a linear probe's step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


def make_trainer(config: Config, callbacks: Sequence[Callback], loggers: Sequence[Logger], folder: Path) -> Trainer:
    """The trainer that a configuration describes, with a run's own callbacks behind those that it names."""
    given = {
        name: _instances(value, TRAINER_CLASSES[name]) if name in TRAINER_CLASSES else value
        for name, value in config.settings["trainer"].items()
    }
    _check_strategy(given["strategy"])
    theirs = _as_list(given["callbacks"])
    has_bar = any(isinstance(callback, ProgressBar) for callback in theirs)
    bar = [StepBar(config.title)] if given["enable_progress_bar"] and not has_bar else []
    given["enable_progress_bar"] = has_bar
    given["callbacks"] = [*theirs, *bar, *callbacks]
    given["profiler"] = given.get("profiler") or _Unprofiled()
    given["plugins"] = [*_as_list(given["plugins"]), Checkpoints(resumes=config.command == "fit")]
    try:
        trainer = Trainer(**{**given, "logger": loggers, "default_root_dir": str(folder)})
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"The trainer cannot be set up: {error}", hint="See the keys under trainer.") from error
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for hook in _STEP_HOOKS:
            # Lightning passes over a hook that is None; one that does nothing it calls at every step.
            if getattr(type(callback), hook) is getattr(Callback, hook):
                setattr(callback, hook, None)
    most = 4 * available_cores()  # more would keep the machine busy with changing between them
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise UserError(
            f"trainer.devices: {trainer.num_devices} processes are too many for the {most // 4} cores of this CPU",
            hint=f"Take at most {most}; the result is the same with any number.",
        )
    return trainer


def _instances(value: Any, home: str) -> Any:
    """What a key of the trainer's names: ``{class_path, init_args}``, or lists of it, as objects; all else as it is."""
    if isinstance(value, list):
        return [_instances(entry, home) for entry in value]
    if isinstance(value, str) and (home.endswith(("callbacks", "plugins")) or value[:1].isupper()):
        value = {"class_path": value}
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    path = class_path(value["class_path"], home)
    given = {key: _instances(inner, home) for key, inner in (value.get("init_args") or {}).items()}
    return made(path, class_at(path), given)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _check_strategy(strategy: str | Strategy) -> None:
    """Refuses strategies of the trainer but DDP, as processes that are commands themselves.

    Others do not bring together the gradients of whole weights, as methods here expect; forked or spawned processes
    keep from the first what the test needs.
    """
    if isinstance(strategy, str):
        fits = strategy in ("auto", "ddp", "single_device") or strategy.startswith("ddp_find_unused_parameters")
    else:
        fits = isinstance(strategy, (DDPStrategy, SingleDeviceStrategy))
    if not fits:
        name = strategy if isinstance(strategy, str) else type(strategy).__name__
        raise UserError(
            f"trainer.strategy: {name} does not fit; methods train by ddp, which auto takes for several devices",
            hint="For towers that are large for one device, HierLoRA has --model.shard=true (FSDP2). Other methods "
            "train on features: they have nothing large to shard.",
        )


def is_child() -> bool:
    """Whether a first process of hierfit's on this machine has started this one, through Lightning."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and launched() is None


def launched() -> ClusterEnvironment | None:
    """What has started the processes, if not this program."""
    for kind in (TorchElasticEnvironment, SLURMEnvironment):
        if kind.detect():
            try:
                return kind()
            except RuntimeError as error:
                raise UserError(str(error).split(" HINT: ")[0], hint="Give sbatch --ntasks-per-node.") from error
    return None


def check_launch(devices: object, nodes: int) -> None:
    """Refuses a number of devices and nodes that is not the number of processes torchrun or SLURM has started.

    Each would train alone, or wait for others that never come.
    """
    if (where := launched()) is None:
        return
    each = len(devices) if isinstance(devices, list) else devices
    if not isinstance(each, int) or each < 1 or each * nodes == where.world_size():
        return
    name = "torchrun has" if isinstance(where, TorchElasticEnvironment) else "SLURM has"
    raise UserError(
        f"{name} started {where.world_size()} processes, "
        f"but trainer.devices is {devices} and trainer.num_nodes {nodes}",
        hint="Give --trainer.devices (processes of each node) and --trainer.num_nodes as they were started. "
        "Under SLURM, start one process a device: srun with --ntasks-per-node.",
    )


def agreed(choose: Callable[[], Any]) -> Any:
    """What the first process chooses, on all processes that torchrun or SLURM have started; each its own otherwise.

    It opens the process group, which the trainer then finds open.
    """
    where = launched()
    if where is None or where.world_size() == 1:
        return choose()
    if not dist.is_initialized():
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = where.main_address, str(where.main_port)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(where.local_rank() % torch.cuda.device_count())
        dist.init_process_group(backend, rank=where.global_rank(), world_size=where.world_size())
    choice: list[Any] = [choose() if where.global_rank() == 0 else None]
    dist.broadcast_object_list(choice, device=torch.device("cpu"))
    return choice[0]
