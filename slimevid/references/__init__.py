"""Reference frames: frames of the clip with the user's masks, at the clip's size and with a common set of parts."""
