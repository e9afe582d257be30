"""Readers of billing signals: CloudWatch alarms, AWS Budgets, Cost Anomaly Detection."""
