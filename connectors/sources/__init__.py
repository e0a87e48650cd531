"""Sources: one package per type, each an entry point of the group ``cityhub.sources``. They do not know each other."""
