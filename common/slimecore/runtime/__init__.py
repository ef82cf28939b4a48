"""Manage the process: device, threads, seeds, plug-in lookup, progress, stage timer."""
