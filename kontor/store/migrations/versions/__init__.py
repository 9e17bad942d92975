"""One file a revision; never change one that has been released."""
