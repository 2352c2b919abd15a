"""HTTP: each module is a path, but for main.py, dependencies.py, batching.py and publishing.py."""
