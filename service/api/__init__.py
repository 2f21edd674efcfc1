"""HTTP: routes that translate between requests and use cases, and nothing else."""
