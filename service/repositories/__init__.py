"""All queries. Functions over a `Session`; whoever opened the session commits it."""
