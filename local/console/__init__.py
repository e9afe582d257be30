"""The operator's page on this machine, for a simulated AWS Batch (`make console`)."""
