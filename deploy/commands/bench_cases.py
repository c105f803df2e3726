"""Which files are measured with which provider on a device: one made for it, or one for any."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from android_bench.coverage import PROVIDERS
from android_bench.device import DeviceInfo
from android_bench.launch import Case
from deploy.artifact import Artifact, artifact_path
from deploy.commands.graph_macs import count_macs, count_weights
from deploy.commands.progress import note
from deploy.errors import ArtifactError, GraphError, UsageError
from deploy.integer_ops import activation_types
from deploy.onnx_file import external_files, load_graph
from deploy.targets import TARGETS, made_for_other_hardware

# A target that is a provider's own; the CPU provider runs such a file, but it is not made for it.
OF_PROVIDERS = ("nnapi", "xnnpack", "qnn", "qnn-u16")
# the float file that a provider gets, the first of these that is there
FLOAT_KINDS = ("fp32", "plain", "external")


def read_providers(text: str) -> tuple[str, ...]:
    """Give the providers that a list by commas names.

    Raises:
        UsageError: one is unknown, or none is named.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names or ("",):
        if name not in PROVIDERS:
            raise UsageError(f"provider {name!r} is unknown", f"use {', '.join(PROVIDERS)}")
    return names


def cases_for(
    artifacts: Sequence[Artifact],
    providers: Sequence[str],
    info: DeviceInfo,
    crop: Path,
    *,
    named: bool,
) -> list[Case]:
    """Give the cases of one device.

    Args:
        crop: the file of the input's values.
        named: the user named the files, so all are measured; else each provider gets those that
            are made for it, and a float one.

    Raises:
        UsageError: a named file has activations that a provider cannot take.
        ArtifactError: there is nothing for a provider.
    """
    cases = []
    counts = _counts_of_models(artifacts)
    for provider in providers:
        chosen = list(artifacts) if named else chosen_for(artifacts, provider, info)
        for artifact in chosen:
            graph = load_graph(artifact.path)
            require_taken(artifact, graph, provider)
            known = {"model_opset": _opset(graph), **counts.get(artifact.model, {})}
            cases.append(_case(artifact, provider, crop, known))
    return cases


def chosen_for(artifacts: Sequence[Artifact], provider: str, info: DeviceInfo) -> list[Artifact]:
    """Give the files of a line that are for a provider on a device.

    This machine's own CPU takes them all: that is where files for phones are tried out. An emulated
    processor gets what a phone with that one would.

    Raises:
        ArtifactError: there is none.
    """
    if provider == "cpu" and not info.is_phone and info.emulated_cpu is None:
        return list(artifacts)
    if provider == "cpu":
        chosen = [one for one in artifacts if _is_for_cpu(one, info.abi)]
    else:
        floats = [one for kind in FLOAT_KINDS for one in artifacts if one.kind == kind]
        made = [one for one in artifacts if one.target == provider]
        chosen = [*floats[:1], *made]
        if not made:
            note(f"no file is made for {provider}: `mofa-deploy quantize --target {provider}`")
    if not chosen:
        raise ArtifactError(
            f"none of the files is for {provider} on {info.name}",
            "make one with `mofa-deploy quantize --target`, or name files",
        )
    if len(chosen) < len(artifacts):
        note(f"with {provider}: {', '.join(one.path.name for one in chosen)}")
    return chosen


def require_one_file(path: Path) -> None:
    """Refuse a model with weights in files beside it.

    Raises:
        GraphError: it is one.
    """
    for beside in external_files(path)[:1]:
        raise GraphError(
            f"{path} keeps weights in {beside.name}, and a device gets one file",
            f"take what `mofa-deploy prepare {path}` makes of it",
        )


def require_taken(artifact: Artifact, graph: onnx.ModelProto, provider: str) -> None:
    """Refuse a quantized graph that a provider cannot take: it would run on the CPU, unsaid.

    Raises:
        UsageError: it is one; the target to make instead is named.
    """
    if provider not in TARGETS:
        return
    takes = TARGETS[provider].activations.removeprefix("Q").lower()
    other = activation_types(graph) - {takes}
    if not other:
        return
    made = artifact_path(artifact.path.parent, artifact.model, f"int8-{provider}")
    instead = str(made) if made.is_file() else f"`mofa-deploy quantize --target {provider}`"
    raise UsageError(
        f"{artifact.path} has {', '.join(sorted(other))} activations, and {provider} takes {takes}",
        f"measure {instead}",
    )


def level_of(artifact: Artifact) -> str:
    """Give the optimization level that a file is made for."""
    target = TARGETS.get(artifact.target or "")
    return target.level if target else "all"


def config_of(artifact: Artifact) -> dict[str, str]:
    """Give the session config entries that a file is made for."""
    target = TARGETS.get(artifact.target or "")
    return dict(target.config) if target else {}


def _is_for_cpu(artifact: Artifact, abi: str) -> bool:
    foreign = made_for_other_hardware(artifact.target, abi)
    return not foreign and artifact.target not in OF_PROVIDERS


def _counts_of_models(artifacts: Sequence[Artifact]) -> dict[str, dict[str, int]]:
    """Give columns of `runs` for each model, counted at the first float file of its line.

    Its trained numbers are as its sidecar says, for an export folds some into others; where it
    says nothing, they are the numbers in the graph's weights.
    """
    found: dict[str, dict[str, int]] = {}
    for kind in ("plain", "external", "fp32"):
        for artifact in artifacts:
            if artifact.kind == kind and artifact.model not in found:
                graph = load_graph(artifact.path)
                macs = count_macs(graph)
                if macs is not None:
                    params = artifact.fidelity.get("parameters", count_weights(graph))
                    found[artifact.model] = {"model_macs": macs, "model_params": params}
    return found


def _opset(graph: onnx.ModelProto) -> int | None:
    versions = [one.version for one in graph.opset_import if one.domain in ("", "ai.onnx")]
    return max(versions, default=None)


def _case(artifact: Artifact, provider: str, crop: Path, known: Mapping[str, Any]) -> Case:
    level, config = level_of(artifact), config_of(artifact)
    return Case(artifact, crop, level, config, provider=provider, known=known)
