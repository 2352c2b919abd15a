"""HTTP: each module is a path, but for main, dependencies, routing, batching, publishing and overload."""
