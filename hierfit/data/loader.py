"""Batches by row numbers: shuffled for training, exact for evaluation, on one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hierfit.data.batch import Batch


class Step(NamedTuple):
    """What a batch is made from; it carries the epoch, for workers outlive epochs and hear of them in no other way.

    Attributes:
        rows: Row numbers of its samples ``[B]``.
        shared: Row numbers of the batch of all processes ``[B']``; None where there is one.
    """

    rows: Tensor
    epoch: int
    shared: Tensor | None = None

    def batch(self, inputs: Tensor, paths: Tensor) -> Batch:
        """The batch of inputs, out of the paths of all rows ``[n, L]``."""
        shared = None if self.shared is None else paths.index_select(0, self.shared)
        return Batch(inputs, paths.index_select(0, self.rows), self.rows, shared)


@dataclass(eq=False)
class RowSampler(Sampler[Step]):
    """Row numbers of each batch of this process.

    In order, a process of rank r takes the rows r, r + world, …: every row once, none twice, whatever their
    number. Shuffled, a batch is of all processes together, and each takes every world-th row of it: so any number of
    processes takes the same steps. Either way all have as many batches, for some steps need all processes; a last one
    may leave nothing for some.

    Args:
        batch_size: Rows a batch: shuffled, of all processes; in order, of this one.
        seed: Shuffle by this seed and the epoch; None keeps the order.
        drop_last: Leave a last, smaller batch out, unless it is the only one.
    """

    size: int
    batch_size: int
    seed: int | None = None
    rank: int = 0
    world: int = 1
    drop_last: bool = False

    def __post_init__(self) -> None:
        self.epoch = self.start = 0
        most = -(-self.size // self.world) if self.seed is None else self.size  # no process has more
        whole = most // self.batch_size * self.batch_size
        self.share = whole if self.drop_last and whole else most

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.share // self.batch_size)

    def __iter__(self) -> Iterator[Step]:
        """The batches from number `start` on."""
        order = torch.arange(self.size) if self.seed is None else self._shuffled(self.seed)
        times = self.world if self.seed is None else 1
        epoch, batches = self.epoch, order[: times * self.share].split(times * self.batch_size)
        return (
            Step(batch[self.rank :: self.world], epoch, batch if self.world > 1 else None)
            for batch in batches[self.start : len(self)]
        )

    def _shuffled(self, seed: int) -> Tensor:
        # torch's CPU generator reads 32 bits only; SeedSequence mixes both numbers into them.
        mixed = int(np.random.SeedSequence(seed, spawn_key=(self.epoch,)).generate_state(1)[0])
        return torch.randperm(self.size, generator=torch.Generator().manual_seed(mixed))


@dataclass(frozen=True)
class FeatureBatches(Dataset[Batch]):
    """Batches out of features in memory: one gather a batch, no work for single samples."""

    features: Tensor
    paths: Tensor

    def __getitem__(self, step: Step) -> Batch:
        return step.batch(self.features.index_select(0, step.rows), self.paths)


class Loader:
    """Iterates over the batches of one epoch, and can say and be told where in it it is.

    Deliberately no `DataLoader`: Lightning takes those apart and puts its own samplers in (for several
    processes, for overfitting, for predicting), while `RowSampler` already does what is right for all of them.

    Attributes:
        before: Called before each batch is taken: the step before it, and all that followed from it, is done then.

    Args:
        sampler: Gives the steps; the name is where Lightning looks for `set_epoch`.
        num_workers: Processes that make batches ahead; 0 makes them in this one.
    """

    def __init__(self, batches: Dataset[Batch], sampler: RowSampler, num_workers: int = 0) -> None:
        self.sampler = sampler
        self.batch_sampler = None  # Lightning asks for it where it finds a sampler
        self.before: Callable[[], object] = lambda: None
        self._batches = batches
        self._start = self._taken = 0
        self._ahead: DataLoader[Batch] | None = None
        if num_workers:
            self._ahead = DataLoader(
                batches,
                sampler=cast("Sampler[int]", sampler),  # an index is a step
                batch_size=None,
                num_workers=num_workers,
                persistent_workers=True,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # else each epoch draws from the generator that training draws from
            )

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator, which begins when the first batch is asked for: on resuming, Lightning takes the iterator
        # before it tells the sampler the epoch.
        self._taken = self.sampler.start = self._start
        self._start = 0
        self.before()
        for batch in self._ahead if self._ahead is not None else (self._batches[step] for step in self.sampler):
            self._taken += 1
            yield batch
            self.before()

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch have been taken."""
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next epoch to begin begins after so many batches; after all of them, it is a new one."""
        self._start = state["taken"] % max(len(self), 1)
