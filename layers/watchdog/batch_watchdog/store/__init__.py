"""The DynamoDB table, and the items that every feature shares."""
