"""The 4-bit formats, one file each, behind one protocol."""
