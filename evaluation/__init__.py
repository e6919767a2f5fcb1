"""Answers, metrics, agreement and calibration: NumPy only."""
