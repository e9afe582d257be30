"""Calls of AWS Batch and SQS, metrics, and the functions' settings."""
