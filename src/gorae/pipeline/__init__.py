"""The steps, one file each: they know settings and folders and tell their progress."""
