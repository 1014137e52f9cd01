"""Open a checkpoint safely: nothing of it is executed, every defect is named, every byte that counts is hashed."""
