"""Triangle meshes with the file's face order, their materials, and face-label files.

Label files are those of this project and of data sets.
"""
