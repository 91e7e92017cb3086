"""What flows are trained on: data sets, their splits, dequantization, and the units of their likelihood."""

from nfkd.data.dataset import Batch, DataError, Dataset, Part
from nfkd.data.loading import fetch_dataset, load_dataset
from nfkd.data.source import NotFetchedError

__all__ = ["Batch", "DataError", "Dataset", "NotFetchedError", "Part", "fetch_dataset", "load_dataset"]
