"""One file for each target; ``fuzz.harness`` says what is in it."""
