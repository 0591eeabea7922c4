"""Files of other programs: each reader yields Frames or a Topology in the units of cgstore."""
