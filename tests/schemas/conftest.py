"""Kernels are there before a test is measured: Hypothesis stops one that takes 200 ms."""

from schemas.columnar.reader import warm

warm()
