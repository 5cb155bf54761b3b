"""The trained part between features and the joint space: torch modules, one file a system."""
