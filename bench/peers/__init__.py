"""The systems that are compared: the same job, as the users of each would write it for speed."""
