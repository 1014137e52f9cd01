"""What methods/ is built on: corpora, losses, the training loop, and the writing of a candidate."""
