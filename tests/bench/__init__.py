"""How this package compares with the published recipes, on the machine it runs on: `make bench`."""
