"""Labels of one mesh applied to others of its kind."""
