"""Features of any number of pictures, into one bundle: over processes, in parts that outlive a kill."""
