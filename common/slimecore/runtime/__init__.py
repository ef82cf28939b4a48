"""Device, threads, seeds, plug-in lookup, progress, stage timer."""
