"""unlearn-guard: has this language model really unlearned, and does it stay unlearned at 4 bits?"""

__version__ = "0.1.0"
