"""What is built once under a lock and then handed out: prepared pixels, features."""
