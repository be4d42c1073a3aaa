"""What can be read from a run's test logits and embeddings: pure functions of tensors, no pictures."""
