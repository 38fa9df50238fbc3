"""`make loop`: ten nights of three wearers on drawn walks, and whether each of them went as it should."""
