"""A watchdog for AWS Batch: tells when arrays are done, limits waiting, guards spending."""
