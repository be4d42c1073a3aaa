"""Figures of a report, drawn with matplotlib; each function returns the figure and what its marks say."""
