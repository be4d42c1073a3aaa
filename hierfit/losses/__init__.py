"""Losses on the node axis: functions ``(logits [B, N], paths [B, L], taxonomy, *, options) → scalar``.

``logits`` are scores of the tree's N nodes; ``paths`` node ids coarse to fine, −1 where unknown or where a branch has
ended; a leaf may lie at any level. The scalar is in nats, the mean over samples with a label (see `levels`); 0, still
attached to the graph, if there is none. O(B·N). A `UserError` where an option is outside its range.

| file | loss, by its name in configuration files |
|---|---|
| `levels` | a softmax over each level's cut: `level_ce` |
| `cuts` | the same, and more: `hisce`, the label smoothed among its siblings; `tp_kl`; `js` |
| `leaves` | one softmax over the leaves: `leaf_ce`, `hxe`, `soft_labels`, `hace` |
| `latent_hierarchy` | HIER's regulariser on points in hyperbolic space, part of LatHAdapter |

`objective.Objective` is their module: any weighted sum of the named ones, and of one's own by import path, from plain
configuration. `modules` holds some of them alone, for a training loop of one's own (README.md).
"""
