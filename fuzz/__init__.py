"""Fuzzing: targets that state what must hold for any input, and engines that look for one.

``python -m fuzz --help`` runs them; ``fuzz/README.md`` explains. The same targets run for a short
time under Hypothesis in ``tests/fuzz``.
"""
