"""Why a job does not start: findings from what AWS answers, the likeliest first."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("findings", "gather", "lenient", "needs")
