"""Ask a model a suite's questions through lm-eval and keep every answer."""
