"""What finished runs left, read, compared and set in tables."""
