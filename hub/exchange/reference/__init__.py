"""The reference kernel: the truth in Python, one module each for decode, authorise, anonymise, route and meter."""
