"""Containers for Petal: the backend `docker`, and `petal docker build`."""
