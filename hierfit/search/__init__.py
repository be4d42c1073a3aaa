"""Many runs as one experiment. Importing this imports nothing heavy."""
