"""Transfer of part labels from a labelled mesh, or from learned parts, to other meshes."""
