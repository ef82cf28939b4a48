"""Record the provenance of results: versions, model, settings, a hash of the code."""
