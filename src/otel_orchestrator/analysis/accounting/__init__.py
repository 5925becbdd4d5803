"""What each moment of a run counts as: four views, each of which adds up to its whole."""
