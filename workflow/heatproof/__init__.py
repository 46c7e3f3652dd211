"""heatproof: which heatmaps of a medical-imaging network can be trusted?"""

__version__ = "0.1.0"
