"""Processes and what they leave behind: children that end with us, signals, printing, half-made folders."""
