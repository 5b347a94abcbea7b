"""S3 and Secrets Manager for Petal: files by URL, stores for the cache and for claim checks, secrets."""
