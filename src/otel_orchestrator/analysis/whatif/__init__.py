"""What a change would save: the run once more, on paper."""
