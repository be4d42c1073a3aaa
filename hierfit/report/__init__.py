"""Finished runs as one page: what it shows, how it is drawn, and the figures alone."""
