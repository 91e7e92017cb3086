"""Flows of zuko and normflows as NFKD flows, so that they can be teachers.

They are recognised by their attributes, so neither library is imported here. A zuko flow has a lazy ``transform`` from
data to latents and a ``base``; a normflows flow has a base ``q0``, a list ``flows`` from latents to data, and
``merges`` if it has several scales. Each of their transforms becomes one `Layer`, so that `Flow` provides trace,
latents, samples and density. A diagonal Gaussian base becomes an affine layer before a standard normal.
"""

from nfkd.flows.foreign.wrapping import ForeignFlow, wrap_teacher

__all__ = ["ForeignFlow", "wrap_teacher"]
