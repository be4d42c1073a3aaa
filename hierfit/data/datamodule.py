"""`HierarchicalDataModule`: a data card in, loaders and a `Task` out."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Le
from lightning import LightningDataModule, Trainer
from torch import Tensor

from hierfit.backbone.source import TINY_NOTE
from hierfit.config.schema import argument_faults
from hierfit.config.settings import Seed
from hierfit.data.batch import Batch, EncodedSplit, Shared, Task
from hierfit.data.card import DataCard, load_card, target_cards
from hierfit.data.choice import Choice, Novel, coarse_of, depth_of
from hierfit.data.encode import available_cores
from hierfit.data.loader import FeatureBatches, Loader, RowSampler
from hierfit.data.prepare import Prepared, Towers, prepare
from hierfit.data.samples import Table, several
from hierfit.data.table import read_table
from hierfit.data.trees import StandIn, Tree
from hierfit.errors import UserError

Augment = Literal["none", "crop", "crop_flip"]
OneOrMore: TypeAlias = Annotated[int, Ge(1)]
NoneOrMore: TypeAlias = Annotated[int, Ge(0)]

_print_once = cache(print)  # a run's controls read the same data in the same process


class HierarchicalDataModule(LightningDataModule):
    """Serves one data set, as features from frozen towers or as pixels for towers that train.

    `prepare_data` fills the feature cache on one process; `setup` then finds everything there. With several processes
    every test sample is seen exactly once; see `RowSampler`.

    Args:
        card: Name of a data card, or path of its YAML file.
        root: Folder or file the data lie in; not needed by cards that draw their own.
        backbone: `tiny`, a folder or a hub name; not used by cards that hold features.
        needs: `features`: images are encoded once and kept. `pixels`: they are decoded whenever they are
            used.
        shots: Images a leaf to train on, drawn by `seed`; null trains on all.
        shots_policy: For leaves with fewer images: `error`, or `all` to take what there is.
        coarse_shots: With `shots`, of each inner node so many images beside them that are labelled no finer; null takes
            all, 0 none, which is said.
        draw_from: Split that `shots` are drawn from. With `train`, a ready draw ``train<K>`` of a bundle is taken as it
            is, whatever the seed; `train16`, say, draws fewer of it by seed.
        coarse: In place of `shots`, how many images of a leaf are drawn and how much training is told of each: with
            `{leaf: 2, parent: 8}` two know their leaf, eight its parent only (or a level, by its name).
        tail: In place of `shots`, numbers of images that go round the leaves in an order drawn by `seed`:
            `[1, 1, 2, 4, 8, 16]` gives a third of the leaves one image, a sixth of them 16.
        val_shots: `coop`: validate on min(shots, 4) images a leaf, as CoOp does, where `shots` are those that training
            is told the leaf of. `all`: on the whole of `val`.
        novel: Classes held back from training and validation, to be met in the test: `halves` of all leaves by
            name, half of the `siblings` in each family, or whole `subtrees`. null holds none back.
        tree: What the method is told of the classes' order: the `true` tree, or one over the same leaves in its place,
            to see whether the true one helps. `shuffled`: the true tree, but what the method shares along it (its
            residuals, HiSCE's siblings) is shared among strangers, drawn by `seed`; labels and scoring stay. `flat`: no
            tree. `truncated`: without the levels between the coarsest and the leaves. `induced`: grown from the leaves'
            text. Draw, classes held back, and the leaves' text stay the same.
        train_level: Finest level whose labels training and validation are told; the test is as fine as ever. The draw
            stays K images a leaf. null, or the finest level, tells all.
        targets: Other data sets to test on once the training is done: for each card its root, null where it draws its
            own. They have no say in training or selection. Where the classes are the source's, the method is used as
            it is; other classes only some methods can score.
        seed: Of the draw and of the order of batches.
        batch_size: Training samples a step, of all processes together: one process or eight take the same steps.
        eval_batch_size: Samples that each process takes at once outside of training; no figure depends on it.
        drop_last: Leave out a last, smaller training batch.
        augment: How training pictures vary from epoch to epoch, with `needs: pixels`. `crop`: a random part of
            each, stretched to the tower's square. `crop_flip`: that, and every other one mirrored; not for
            classes that text or a side tells apart. `none`: as in evaluation. Overfitting is not augmented.
        crop_area: Smallest share of its area that a crop keeps of a picture. Tip-Adapter: 0.5; CoOp, CLIP-LoRA: 0.08.
        keep_mib: Memory for decoded pictures that need not be decoded again, MiB: so much for training and so
            much for validation, shared out among the workers of each; 0 keeps none.
        num_workers: Processes that decode pictures; null takes one a core, at most 8.
        cache_dir: Where features are kept; null takes `$HIERFIT_CACHE` or `~/.cache/hierfit`.

    Raises:
        UserError: The card or a value is faulty, all at once.
    """

    shared: Shared | None = None  # set by who starts several runs in this process

    def __init__(
        self,
        card: str = "fieldguide",
        root: str | None = None,
        backbone: str | None = "tiny",
        needs: Literal["features", "pixels"] = "features",
        shots: OneOrMore | None = 16,
        shots_policy: Literal["error", "all"] = "error",
        coarse_shots: NoneOrMore | None = 0,
        draw_from: str = "train",
        coarse: dict[str, OneOrMore] | None = None,
        tail: list[OneOrMore] | None = None,
        val_shots: Literal["coop", "all"] = "coop",
        novel: Novel | None = None,
        tree: Tree = "true",
        train_level: str | None = None,
        targets: dict[str, str | None] | None = None,
        seed: Seed = 0,
        batch_size: OneOrMore = 128,
        eval_batch_size: OneOrMore = 512,
        drop_last: bool = False,
        augment: Augment = "crop_flip",
        crop_area: Annotated[float, Gt(0), Le(1)] = 0.5,
        keep_mib: NoneOrMore = 1024,
        num_workers: NoneOrMore | None = None,
        cache_dir: str | None = None,
    ) -> None:
        problems = argument_faults(HierarchicalDataModule, locals(), "data.")
        super().__init__()
        drawn = (coarse_shots, draw_from, tuple((coarse or {}).items()), tuple(tail or ()))
        choice = Choice(shots, seed, shots_policy, val_shots, novel, tree, train_level, *drawn)
        problems += [*choice.contradictions(), *(["data.tail: is empty"] if tail == [] else [])]
        if targets and tree != "true":
            problems.append(f"data.targets: they are read on their own trees, which data.tree: {tree} is not")
        if problems:
            raise UserError("these values cannot be used", problems)
        self.card = load_card(card)
        if train_level is not None and depth_of(self.card.levels, train_level) == len(self.card.levels) - 1:
            choice = replace(choice, train_level=None)
        self.choice = replace(choice, coarse=coarse_of(coarse, [*self.card.levels]))
        self.target_cards = target_cards(self.card, targets or {})
        self.root, self.backbone, self.needs = root, backbone, needs
        self.batch_size, self.eval_batch_size, self.drop_last = batch_size, eval_batch_size, drop_last
        self.num_workers = min(available_cores(), 8) if num_workers is None else num_workers
        self.augment, self.crop_area, self.keep_mib = augment, crop_area, keep_mib
        self.cache_dir = cache_dir

    def prepare_data(self) -> None:
        """Encodes what is not in the cache yet."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Reads the data; does nothing the second time."""
        prepared = self._prepared
        _ = self.targets  # now: who waited for the training should not learn after it that a root is wrong
        if self.trainer is None or not self.trainer.is_global_zero:
            return
        if self.backbone == "tiny" and not self.card.is_drawn and prepared.table.images is not None:
            _print_once(TINY_NOTE)
        if stage == "fit" and (untaught := self._untaught):
            _print_once("; ".join(several("there is no image to train on of", untaught)))
        if stage == "fit" and (left_out := prepared.coarse_left_out):
            _print_once(
                f"{self.choice.key} draws images of leaves: {left_out} that are labelled to an inner node only are "
                "left out. --data.coarse_shots=null takes them too, a number so many of each node."
            )

    @cached_property
    def _prepared(self) -> Prepared:
        towers = self._towers
        how = (self.root, self.choice, towers.name, towers.needs, towers.cache_dir, str(towers.device))
        prepared: Prepared = towers.shared.get(
            ("task", str(self.card.path), self.card.fingerprint, *how),
            lambda: prepare(self.card, self._table(self.card, self.root), self.choice, towers),
        )
        return prepared if self.shared is None else replace(prepared, task=prepared.task.own())

    @property
    def _untaught(self) -> list[str]:
        """Classes that are candidates in training and have no image there, where training is told the leaves."""
        tree, train = self.task.taxonomy, self._prepared.splits["train"]
        if self.choice.coarse or self.choice.train_level is not None:
            return []
        leaves = tree.leaves[self.task.seen[tree.leaves]]
        empty = train.nodes[train.nodes >= 0].bincount(minlength=tree.num_nodes)[leaves] == 0
        return [tree.full_name(leaf) for leaf in leaves[empty].tolist()]

    @cached_property
    def targets(self) -> tuple[Prepared, ...]:
        """What a trained method is tested on beside its own test split; raises `UserError` with all their faults."""
        found, problems = [], []
        for card, root in self.target_cards:
            try:
                found.append(prepare(card, self._table(card, root), Choice(), self._towers, self._prepared))
            except UserError as error:
                problems += [f"{card.name}: {line}" for line in (error.summary, *error.problems)]
        if problems:
            raise UserError(f"what is trained on {self.card.name!r} cannot be tested on data.targets", problems)
        return tuple(found)

    def _table(self, card: DataCard, root: str | None) -> Table:
        kind = "table" if card is self.card else "target's table"
        key = (kind, str(card.path), card.fingerprint, root)
        table: Table = self._towers.shared.get(key, lambda: read_table(card, root))
        return table

    @property
    def _towers(self) -> Towers:
        device = self.trainer.strategy.root_device if self.trainer else "cpu"
        return Towers(self.backbone, self.needs, self.cache_dir, self.num_workers, device, self.shared or Shared())

    @property
    def task(self) -> Task:
        """What a method may know of the data before training."""
        return self._prepared.task

    @property
    def tree(self) -> StandIn:
        """What the task's tree has to do with the data set's own."""
        return self._prepared.tree

    @property
    def base(self) -> Tensor:
        """Which nodes base-to-novel figures count as base ``[N]`` bool: all, where no classes were held back."""
        seen = self.task.seen
        return seen if self.choice.novel is not None else torch.ones_like(seen)

    @property
    def has_val(self) -> bool:
        """Whether there is a validation split to select on."""
        return "val" in self._prepared.splits

    @property
    def val(self) -> EncodedSplit | None:
        """All of the validation draw on every process, for what is computed of it at once; None without features."""
        split = self._prepared.splits.get("val")
        if split is None or split.features is None:
            return None
        return EncodedSplit(split.features, self.task.taxonomy.paths(split.nodes))

    @property
    def finest_val_level(self) -> str | None:
        """The finest level that validation samples are labelled at; None where some are labelled at a leaf."""
        taxonomy, nodes = self.task.taxonomy, self._prepared.splits["val"].nodes
        nodes = nodes[nodes >= 0]
        coarse = len(nodes) > 0 and bool((taxonomy.num_children[nodes] > 0).all())
        return taxonomy.levels[int(taxonomy.level[nodes].max())] if coarse else None

    @property
    def selected_on(self) -> Literal["val", "last step"]:
        """What a checkpoint may be selected on; never the test split."""
        return "val" if self.has_val else "last step"

    @property
    def test_keys(self) -> tuple[str, ...]:
        """Names of the test samples, in the order of `Batch.indices`."""
        return self._prepared.splits["test"].keys

    def summary(self) -> dict[str, object]:
        """The facts of the data that go into a result card: plain values only."""
        pixels = {"augment": self.augment, "crop_area": self.crop_area}
        return self._prepared.summary() | (pixels if self.needs == "pixels" else {})

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """A batch is a few tensors; Lightning would look into each of them, at every step."""
        return batch if batch.inputs.device == device else batch.to(device)

    def train_dataloader(self) -> Loader:
        """Shuffled batches of the training draw; in order when Lightning overfits a few batches."""
        overfits = self.trainer is not None and bool(self.trainer.overfit_batches)  # type: ignore[attr-defined]
        seed = None if overfits else self.choice.seed
        return self._loader(self._prepared, "train", seed)

    def val_dataloader(self) -> Loader | list[Loader]:
        """All of the validation draw, in order; an empty list without a validation split."""
        return self._loader(self._prepared, "val") if self.has_val else []

    def test_dataloader(self) -> Loader:
        """All of the test split, in order."""
        return self._loader(self._prepared, "test")

    def target_dataloader(self, target: Prepared) -> Loader:
        """All of a target's test split, in order."""
        return self._loader(target, "test")

    predict_dataloader = test_dataloader

    def _loader(self, prepared: Prepared, name: str, seed: int | None = None) -> Loader:
        split, task, images = prepared.splits[name], prepared.task, prepared.table.images
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        train, paths = name == "train", task.taxonomy.paths(split.nodes)
        batch_size = self.batch_size if train else self.eval_batch_size
        rows = RowSampler(len(split), batch_size, seed, rank, world, self.drop_last and train)
        if split.features is not None:
            return Loader(FeatureBatches(split.features, paths), rows)
        from hierfit.data.pixels import batches  # here: most runs train on features

        assert images is not None
        assert task.backbone is not None
        # Each worker keeps what it decodes for itself; the test split is read once.
        keep = 0 if name == "test" else (self.keep_mib << 20) // max(self.num_workers, 1)
        augment = (self.crop_area, self.augment == "crop_flip") if seed is not None and self.augment != "none" else None
        pixels = batches(split.keys, images, task.backbone.preprocess, paths, augment, seed or 0, keep)
        return Loader(pixels, rows, self.num_workers)


def datamodule_of(trainer: Trainer) -> HierarchicalDataModule:
    """The data module of a trainer that is at work."""
    found = getattr(trainer, "datamodule", None)
    assert isinstance(found, HierarchicalDataModule), "hierfit's methods run on a HierarchicalDataModule"
    return found
