"""Write a labelled mesh: labels, GLB, viewer page, pictures."""
