"""A cycle model of one Sapphire Rapids core: what executed instructions take at least, and how a tile loop flows."""
