"""Record what a result was made of: versions, model, settings, a hash of the code."""
