"""Pictures of networks, and of what they see. Needs the extra `viz` (matplotlib)."""
