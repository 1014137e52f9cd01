"""Pretrained models for machines without a model hub: from the package index, and from GGUF files."""
