"""AWS Lambda for Petal: the backend `aws_lambda`, the handler that runs in a function, and `petal lambda`."""
