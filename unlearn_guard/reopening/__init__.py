"""A finished run as it may be believed: every claim that can be had again had again."""
