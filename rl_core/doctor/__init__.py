"""`python -m rl_core doctor`: what would stop a run, before it starts. Looks, and changes nothing."""
