"""A simulated AWS Batch."""
