"""The commands ``slime learn`` and ``slime segment`` as functions."""
