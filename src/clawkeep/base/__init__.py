"""What every room needs and what knows none of them: errors, verdicts, times, files, and where the checkout lies."""
