"""What processes that were started one by one (torchrun, SLURM) must agree on before a trainer brings them together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning import Trainer
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy

from hierfit.data.encode import available_cores
from hierfit.errors import UserError

T = TypeVar("T")


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


def check_strategy(strategy: str | Strategy) -> None:
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


def check_processes(trainer: Trainer) -> None:
    """Refuses a number of CPU processes that would keep the machine busy with changing between them."""
    most = 4 * available_cores()
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise UserError(
            f"trainer.devices: {trainer.num_devices} processes are too many for the {most // 4} cores of this CPU",
            hint=f"Take at most {most}; the result is the same with any number.",
        )


def agreed(choose: Callable[[], T]) -> T:
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
    found: T = choice[0]
    return found
