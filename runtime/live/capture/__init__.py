"""Reading a source in a thread or a process of its own."""
