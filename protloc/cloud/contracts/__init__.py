"""What AWS would refuse, by its own data: requests, permissions and definitions, without the engine."""
