"""The product from Python: what the API tells as Arrow tables, which `.to_pandas()` makes frames of; docs/client.md.

>>> from cluster.client import Client
>>> def worst(url: str, key: str) -> str:
...     with Client(url, key) as client:
...         alerts = client.alerts(state="OPEN", limit=200).to_pandas()
...         return alerts["series"].value_counts().idxmax()
"""

from cluster.client.client import Capability, Chart, Client
from cluster.client.connection import ApiError, NotReachedError
from cluster.client.verdicts import Verdicts

__all__ = ["ApiError", "Capability", "Chart", "Client", "NotReachedError", "Verdicts"]
