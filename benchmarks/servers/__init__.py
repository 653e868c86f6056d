"""The servers under measurement: one script for each implementation, the same options for all."""
