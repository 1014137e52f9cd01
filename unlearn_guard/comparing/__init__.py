"""Many cells: methods, suites and seeds, on this machine or a cluster, and the leaderboard."""
