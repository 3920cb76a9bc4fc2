"""How fast parts of the project are: each module that its README lists is a command, `python -m benchmarks.<name>`."""
