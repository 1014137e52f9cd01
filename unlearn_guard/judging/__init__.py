"""From measurements to a verdict. Pure: no torch, no clock, no disk but the policy file."""
