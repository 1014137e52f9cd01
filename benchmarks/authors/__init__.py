"""TOFU on real weights: invented authors in TOFU's schema, and models that learnt all of them or all but some."""
