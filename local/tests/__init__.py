"""Tests of the code in this folder that needs no stack: `make unit` runs them."""
