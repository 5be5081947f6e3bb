"""Calls from compiled code: what the frontend does in Python, without the interpreter."""
