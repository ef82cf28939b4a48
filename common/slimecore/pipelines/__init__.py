"""Run the commands ``slime learn`` and ``slime segment`` as functions."""
