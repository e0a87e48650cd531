"""The native kernel's side in Python: lowers a plan into the program that the crate in ``native/`` runs."""
