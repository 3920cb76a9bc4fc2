"""Other trainers on the same work; each runs in an environment that has it."""
