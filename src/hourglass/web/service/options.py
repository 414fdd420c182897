"""The options of each use, as parameters of a request's address."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from hourglass.errors import ParameterError
from hourglass.web.service.uses import Use

_WHITE = "White level of images deeper than 8 bits, such as 4095 for 12 bits; by default the model's, or found in the image."


class Options(BaseModel):
    """The options of every use. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    white: float | None = Field(None, gt=0, le=1e38, description=_WHITE)
    pages: Literal["all", "first"] = Field("all", description="Of a file of several pages or frames: all, or only the first.")

    @property
    def to_model(self) -> dict[str, Any]:
        """Those that the model gets."""
        return {}


class RestoreOptions(Options):
    """Of uses that answer with images."""

    format: Literal["same", "png", "jpeg", "webp", "tiff", "npy"] = Field(
        "same", description="Format of the answer: that of the request, another, or npy: float32 in 0..1."
    )
    quality: int | None = Field(
        None, ge=1, le=100, description="For JPEG, WebP and AVIF; 98 by default, and lossless for WebP."
    )


class DenoiseOptions(RestoreOptions):
    """Of denoise."""

    strength: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Standard deviation of the noise to remove, in 0..1; by default the model's own judgement.",
    )

    @property
    def to_model(self) -> dict[str, Any]:
        return {} if self.strength is None else {"strength": self.strength}


class MapOptions(Options):
    """Of map."""

    format: Literal["npy", "png"] = Field(
        "npy", description="npy: the errors, float32; png: the image in grey with the errors in red."
    )


class EncodeOptions(Options):
    """Of encode."""

    format: Literal["json", "npy"] = Field("json", description="npy: float32 (n, number of latent dimensions).")


class SearchOptions(Options):
    """Of search."""

    n: int = Field(10, ge=1, le=1000, description="Number of neighbours.")

    @property
    def to_model(self) -> dict[str, Any]:
        return {"n": self.n}


class QualityOptions(Options):
    """Of compress, with a model of any quality."""

    quality: int | None = Field(None, ge=0, le=100, description="By default the model's.")

    @property
    def to_model(self) -> dict[str, Any]:
        return {"quality": self.quality, "white": self.white}


_OPTIONS: dict[str, type[Options]] = {
    "denoise": DenoiseOptions,
    "enhance": RestoreOptions,
    "map": MapOptions,
    "encode": EncodeOptions,
    "search": SearchOptions,
}


def parsed(kind: type[Options], query: QueryParams) -> Options:
    """The options in a request's address. Raises ParameterError for unknown names, other values, and a name twice."""
    names = [name for name, _ in query.multi_items()]
    if len(set(names)) < len(names):
        raise ParameterError("an option stands in the address twice; allowed: once.")
    try:
        return kind.model_validate(dict(query))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors()]
        allowed = ", ".join(kind.model_fields)
        raise ParameterError(f"{'; '.join(faults)[:300]}; the options are {allowed}.") from error


def parameters_of(kind: type[Options]) -> list[dict[str, Any]]:
    """The OpenAPI description of the options."""
    described = []
    for name, schema in kind.model_json_schema()["properties"].items():
        about = schema.pop("description", "")
        described.append({"name": name, "in": "query", "required": False, "description": about, "schema": schema})
    return described


def options_of(name: str, use: Use) -> type[Options]:
    """The class of the options of a use."""
    if name == "denoise" and use.is_fixed:
        return RestoreOptions
    return QualityOptions if use.reads == "values" else _OPTIONS.get(name, Options)
