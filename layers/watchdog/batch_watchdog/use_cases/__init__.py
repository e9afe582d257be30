"""The use cases of the Lambda functions, and their parts; that of stop_jobs is with the guards."""
