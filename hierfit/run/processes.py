"""What processes that were started one by one (torchrun, SLURM) must agree on before a trainer brings them together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

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
