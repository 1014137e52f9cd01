"""The embedded model organism: an invented world, a small Llama that knows it, and planted candidates."""
