"""How stages are run: shards, the image store, the executor, and what people are told."""
