"""Which of the four suspects takes the time."""
