"""One configuration: YAML files and keys, read, checked and merged."""
