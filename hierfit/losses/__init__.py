"""Losses on the node axis: functions of ``logits [B, N]``, ``paths [B, L]`` and the taxonomy.

| file | loss, by its name in configuration files |
|---|---|
| `level_ce` | `level_ce`, `leaf_ce`: cross-entropy within every level, or over the leaves |
| `tp_kl` | `tp_kl`: divergence from the label's path to one softmax over all levels |
| `hisce` | `hisce`: level cross-entropy, the label smoothed among its siblings |
| `hxe`, `soft_labels`, `hace` | by the same names: leaf losses by which a mistake nearby costs less |
| `consistency` | `js`: each level against what the level below adds up to |
| `latent_hierarchy` | HIER's regulariser on points in hyperbolic space, part of LatHAdapter |

`objective.Objective` is their module: any weighted sum of the named ones, from plain configuration. `modules` holds
some of them alone, for a training loop of one's own (README.md).
Levels are cuts through the tree, `cuts` and `upward` what that takes; `levels` states what a label of −1 means and how
losses are reduced.
"""
