"""What flows are trained on: data sets, their splits, dequantization, and the units of their likelihood."""

from nfkd.data.batch import Batch
from nfkd.data.dataset import DataError, Dataset, DataSplit
from nfkd.data.loading import fetch_dataset, load_dataset
from nfkd.data.source import NotFetchedError

__all__ = ["Batch", "DataError", "DataSplit", "Dataset", "NotFetchedError", "fetch_dataset", "load_dataset"]
