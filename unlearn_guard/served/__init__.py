"""Is what an endpoint serves what was judged? The run's own items, asked again over the network."""
