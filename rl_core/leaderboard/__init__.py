"""Re-evaluation and its leaderboard: `models`, `hub`, `asked` and `passes` find what to do; `write` makes the rest."""
