"""What every feature shares: job events, effects, failure causes and errors. Pure."""
