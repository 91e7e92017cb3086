"""What flows are trained on: data sets, their splits, dequantization, and the units of their likelihood."""

from nfkd.data.dataset import DataError, Dataset
from nfkd.data.sets import load_dataset

__all__ = ["DataError", "Dataset", "load_dataset"]
