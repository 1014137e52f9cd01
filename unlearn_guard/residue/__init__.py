"""What is left of forgotten knowledge inside a model: by relearning, linear probes, patching, and the logit lens."""
