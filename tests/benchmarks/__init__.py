"""The benchmark: the whole product and the loops that anyone would write instead, on one job, checked before any number is shown.

``python -m benchmarks`` with ``tests`` on the path (``make bench``, ``bench-quick``, ``bench-full``). Theory of operation:

* One embedded broker on a core of its own; the contender, one at a time, on another. Source topics are loaded once (``loading``)
  with records that a fixed seed gives (``records``).
* A run of ours is a fresh hub on the kept topic (``town``): registry, publish, agreements, ``cityhub worker``, all with default
  settings. Its processor time is that of all its threads and children between the first lane's start and the last commit (``ours``).
* A run of a peer is a program that reads the same topic, does the same work and says how long it took (``peers``).
* Every run is checked: all counts against ``oracle``, which knows the generator's values and no kernel, and 20,000 records byte by
  byte. A run that fails has no number, and the benchmark ends with 1.
* Rounds are shuffled, so that what disturbs the machine meets everyone; a run that was disturbed is left out and counted.
* ``report`` writes the table, the picture and ``build/bench.json``.
"""
