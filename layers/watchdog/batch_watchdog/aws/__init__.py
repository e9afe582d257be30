"""The only callers of AWS, beside the table, the diagnosis and the action handler."""
