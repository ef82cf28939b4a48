"""``slime3d render`` and ``slime3d run`` as functions, batches, and provenance for ``--resume``."""
