"""Frames from a source as a thread or a process takes them: the newest one, or every one."""
