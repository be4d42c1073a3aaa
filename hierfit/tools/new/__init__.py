"""A data card for somebody's own pictures, written from what lies there: ``hierfit data new``."""
