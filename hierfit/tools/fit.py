"""``hierfit taxonomy fit``: does this tree fit these features, as a whole and group by group?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NamedTuple

from torch import Tensor
from torch.nn.functional import normalize

from hierfit.atomic import whole_file
from hierfit.closed import Kinship, Statistics, TiedForm, fit_tree, kinship_test
from hierfit.closed.kinship import CHANCE, KINSHIP_FILE
from hierfit.config.command import Say
from hierfit.data.bundle import Bundle, read_bundle
from hierfit.errors import UserError
from hierfit.results.logits import TREE
from hierfit.results.runs import LATEST, run_folder
from hierfit.taxonomy import Taxonomy


class ClassMeans(NamedTuple):
    """What stands for the classes of a tree: a mean for each leaf ``[C, d]`` (0 where there is none), the leaves that
    have one ``[C]``, the variance of a mean about its class's true one in a dimension, and where they come from."""

    means: Tensor
    seen: Tensor
    noise: float
    origin: str


def fit_of_tree(
    tree: Annotated[Path, Say("the tree, in any format that `taxonomy check` reads; or a run, for its own", "TREE")],
    features: Annotated[Path, Say("a feature bundle, as `features extract` writes it", "FEATURES")],
    *,
    text: Annotated[bool, Say("judge by the classes' text features instead of their images")] = False,
    split: Annotated[str | None, Say("whose images to average; default: the largest one to train on")] = None,
    permutations: Annotated[int, Say("how many random trees the test draws; default 1000", "N")] = 1000,
    seed: Annotated[int, Say("of them; default 0")] = 0,
    json_file: Annotated[Path | None, Say("write every node's figures; a run gets them in any case", "FILE")] = None,
) -> None:
    """Does this tree fit these features?

    Kinship says how much more alike a class is to its next of kin than to any other class: 0 for a tree that has
    nothing to do with the features. p is the share of random trees (the same shape, the classes at other places) with
    as much. For a group it says whether its classes are more alike than as many taken at random; those that are not
    are no family to these features. It says that the tree fits, not how much it helps: `hierfit ablate-tree` does.

    Named a run, it judges the run's tree, and `hierfit report` of that run draws what was found, group by group.

    examples:
      hierfit taxonomy fit tree.csv features.safetensors
      hierfit taxonomy fit latest features.safetensors && hierfit report latest
    """
    from hierfit.taxonomy.readers import read_taxonomy

    run = run_folder(tree) if LATEST in tree.parts and not tree.exists() else tree
    of_run = (run / TREE).is_file()
    taxonomy = read_taxonomy(run / TREE if of_run else tree)
    bundle = read_bundle(features)
    if permutations < 1:
        raise UserError("--permutations must be at least 1")
    classes = _of_texts(bundle, taxonomy, features) if text else _of_images(bundle, taxonomy, features, split)
    count = int(classes.seen.sum())
    if count < 2:
        raise UserError(f"{count} of the tree's classes have features: kinship is between two")
    origin = f"{count} classes by {classes.origin}"
    found = kinship_test(classes.means, classes.seen, taxonomy, classes.noise, permutations, seed, origin)
    _print_kinship(found, taxonomy)
    for file in [*([run / KINSHIP_FILE] if of_run else []), *([json_file] if json_file else [])]:
        with whole_file(file) as draft:
            content = json.dumps(found.saved(taxonomy), indent=1, ensure_ascii=False)
            draft.write_text(content + "\n", encoding="utf-8")
        print(f"Written to {file}")


def _of_texts(bundle: Bundle, taxonomy: Taxonomy, file: Path) -> ClassMeans:
    """The text features of the bundle's classes, at the tree's leaves; raises `UserError` where they do not match."""
    vectors = bundle.leaf_text
    if vectors is None:
        raise UserError(f"{file} holds no text features", hint="Without --text its images are judged.")
    found = Statistics.of(normalize(vectors.double(), dim=1), _leaves(bundle, taxonomy), taxonomy.num_leaves)
    return ClassMeans(found.sums, found.seen, 0.0, f"text features of {bundle.backbone}")


def _of_images(bundle: Bundle, taxonomy: Taxonomy, file: Path, split: str | None) -> ClassMeans:
    """Means of the bundle's images, at the tree's leaves, whitened within the classes as `TreeGDA` sees them.

    At one shot nothing lies within a class; the scatter about the mean of all stands in, for what `TreeGDA` takes there
    knows the tree that is to be tested. Without a split, the training one with the most images counts.

    Raises:
        UserError: A class is no leaf of the tree, or there is no such split.
    """
    name = split or bundle.largest_training or "train"
    if name not in bundle.splits:
        raise UserError(f"{file} has no split {name!r}", hint=f"--split takes one of {', '.join(bundle.splits)}.")
    chosen = bundle.splits[name]
    known = chosen.labels >= 0
    if not known.any():
        raise UserError(f"{name} of {file} holds no image of a class")
    labels = _leaves(bundle, taxonomy)[chosen.labels[known].long()]
    statistics = Statistics.of(normalize(chosen.features[known].double(), dim=1), labels, taxonomy.num_leaves)
    fitted = fit_tree(statistics, taxonomy, TiedForm(kind="total" if statistics.few else "within"))
    noise = fitted.noise * float(statistics.counts[statistics.seen].reciprocal().mean())
    origin = f"{int(known.sum())} images of {name}, features of {bundle.backbone}"
    return ClassMeans(fitted.whiten(statistics.means), statistics.seen, noise, origin)


def _leaves(bundle: Bundle, taxonomy: Taxonomy) -> Tensor:
    """Position of each class of the bundle among the tree's leaves ``[C]``: by path, or by name under other groups."""
    try:
        nodes = taxonomy.resolve(bundle.paths)
    except UserError:
        nodes = taxonomy.resolve([path[-1] for path in bundle.paths])
    leaf = taxonomy.leaf_index[nodes]
    if inner := ["/".join(bundle.paths[i]) for i in (leaf < 0).nonzero()[:, 0].tolist()]:
        raise UserError("classes of the features have classes below them in the tree", inner)
    return leaf


def _print_kinship(found: Kinship, taxonomy: Taxonomy) -> None:
    """Prints the verdict, and the groups that are no family, the least alike first."""
    groups, most = found.saved(taxonomy)["groups"], 30
    no_family = sorted((group for group in groups if group["p"] > CHANCE), key=lambda group: -group["p"])
    print(
        f"{'The tree fits' if found.p <= CHANCE else 'No evidence that the tree fits'}: kinship {found.value:.3f}, "
        f"z = {found.z:.1f}, p = {found.p:.2g} ({found.permutations} random trees)\n{found.origin}"
    )
    if groups:
        together, chance = len(groups) - len(no_family), CHANCE * len(groups)
        print(f"{together} of {len(groups)} groups hold together (p ≤ {CHANCE}); by chance about {chance:.0f}")
    else:
        print("no group can be tested: none has two classes, but not all")
    if no_family:
        print(f"\nNo family to these features:\n{'kinship':>9} {'p':>6}  group")
    for group in no_family[:most]:
        print(f"{group['kinship']:9.3f} {group['p']:6.2f}  {group['node']}")
    if len(no_family) > most:
        print(f"… and {len(no_family) - most} more: --json-file has all")
