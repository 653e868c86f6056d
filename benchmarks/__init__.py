"""Measurements: ours and the peers', side by side in one run. See ``README.md`` here.

``cases`` says what is measured, ``peers`` against whom, ``measure`` does it, ``stats`` judges,
``store`` keeps, ``tables`` and ``plots`` show. ``servers`` and ``load`` are the two ends of a
connection.
"""
