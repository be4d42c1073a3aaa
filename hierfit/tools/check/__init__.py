"""What is wrong with a data set, and what it is like: the checks behind ``hierfit data check``."""
