"""Tests of what in this folder needs no stack: `make unit` runs them."""
