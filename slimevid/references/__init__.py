"""Annotated frames: mask files brought to the clip's size and to one set of parts."""
