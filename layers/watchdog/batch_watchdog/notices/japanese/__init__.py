"""Japanese: the English templates of phrases, and what each is in Japanese."""
