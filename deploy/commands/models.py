"""What networks there are."""

from typing import Any

from deploy.zoo.registry import MODELS, find_model


def list_models() -> list[dict[str, Any]]:
    """Give one row a registered network."""
    specs = [find_model(name) for name in MODELS]
    return [
        {
            "model": spec.name,
            "input": "x".join(map(str, spec.inputs[0].shape)),
            "parameters": sum(one.numel() for one in spec.factory().parameters()),
            "weights": spec.checkpoint.name if spec.checkpoint else None,
            "licence": spec.licence,
            "source": spec.source,
        }
        for spec in specs
    ]
