"""The layers of a Glow, as the engine describes them."""

from __future__ import annotations

from nfkd.protocol.requests import LayerInfo


def glow(steps: int, parameters: int = 9) -> list[LayerInfo]:
    """Return the layers of a Glow of two levels for 1×8×8; a step of the second level has twice the parameters."""
    shapes = {1: [4, 4, 4], 2: [8, 2, 2]}
    layers = []
    for level, shape in shapes.items():
        name, label = f"level{level}", f"level {level}"
        layers.append(_layer(f"{name}.squeeze", f"{label} squeeze", "squeeze", shape, 0))
        layers += [
            _layer(f"{name}.step{step}", f"{label} step {step}", "step", shape, level * parameters)
            for step in range(1, steps + 1)
        ]
        if level == 1:
            layers.append(_layer(f"{name}.split", f"{label} split", "split", [2, 4, 4], 0))
    return layers


def _layer(name: str, label: str, kind: str, shape: list[int], parameters: int) -> LayerInfo:
    return LayerInfo(name=name, label=label, kind=kind, shape=shape, parameters=parameters)
