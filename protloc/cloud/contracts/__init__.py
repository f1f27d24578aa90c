"""AWS's own rules for requests, permissions and definitions, enforced without knowing the engine."""
