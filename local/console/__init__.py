"""The operator's page on this machine, over a simulated AWS Batch."""
