"""Flows of other libraries as NFKD's flows, so that they can teach: zuko's and normflows'.

They are known by what they are made of, and neither library is imported here: a zuko flow has a lazy ``transform`` from
data to latents and a ``base``; a normflows flow has a base ``q0`` and a list ``flows`` from latents to data, and
``merges`` where it has several scales. Each of their transforms becomes one of our layers, so that `Flow` itself gives
trace, latents, samples and density. A diagonal Gaussian base becomes an affine layer before a standard normal.
"""

from nfkd.flows.foreign.wrapping import ForeignFlow, wrap_teacher

__all__ = ["ForeignFlow", "wrap_teacher"]
