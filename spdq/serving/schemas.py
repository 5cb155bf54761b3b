"""What may be asked and what is answered, as JSON; unknown keys and other types are refused."""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_K = 1000
MAX_BATCH = 64
MAX_TEXT = 2000
MAX_WHERE = 2000
MAX_PARTS = 8
MAX_WIDTH = 8192
MAX_WEIGHT = 1000.0
WAYS = ("text", "image", "upload", "vector", "item")


def _clean(text: str) -> str:
    # Lone surrogates are no string for pydantic already.
    if "\0" in text:
        raise ValueError(f"forbidden character U+0000 at position {text.index(chr(0))}")
    return text


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _whole(value: Any) -> Any:
    # 3.0 is an integer in JSON.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _picture(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


Clean = AfterValidator(_clean)
_NO_NUL = {"pattern": "^[^\\u0000]*$"}
_BASE64 = {
    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==|[A-Za-z0-9+/]=))?$",
    "contentEncoding": "base64",
}
Text = Annotated[
    str, Field(min_length=1, max_length=MAX_TEXT, json_schema_extra=_NO_NUL), Clean, AfterValidator(_normal)
]
Condition = Annotated[str, Field(min_length=1, max_length=MAX_WHERE, json_schema_extra=_NO_NUL), Clean]
Integer = Annotated[int, BeforeValidator(_whole)]
Id = Annotated[int | str, BeforeValidator(_whole)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Picture = Annotated[str, Field(min_length=1), AfterValidator(_picture), Field(json_schema_extra=_BASE64)]
Upload = Literal[True]
Vector = Annotated[list[Number], Field(min_length=1, max_length=MAX_WIDTH)]
Weight = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]

_STRICT = ConfigDict(strict=True, extra="forbid")


_KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "image": {"type": "string"},
    "upload": {"type": "boolean"},
    "vector": {"type": "array"},
    "item": {"type": ["integer", "string"]},
    "mix": {"type": "array"},
}


def _one_of(ways: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a model checks of its ways, in the words of a JSON schema: one is there, and some fields then are not."""
    return {
        "oneOf": [
            {
                "required": [way],
                "properties": {way: _KINDS[way]} | {name: {"type": "null"} for name in absent},
            }
            for way, absent in ways.items()
        ]
    }


def _alone(*ways: str) -> dict[str, Any]:
    """One way to ask and no other; a modality with a vector only."""
    return _one_of(
        {
            way: [
                other
                for other in (*ways, "modality")
                if other != way and (way, other) != ("vector", "modality")
            ]
            for way in ways
        }
    )


class Asked(BaseModel):
    """One thing to search by."""

    model_config = _STRICT

    text: Text | None = Field(None, description="words")
    image: Picture | None = Field(None, description="a JPEG, PNG or WebP file in base64")
    upload: Upload | None = Field(None, description="the file `image` of a multipart request")
    vector: Vector | None = Field(None, description="a query that has been embedded already")
    item: Id | None = Field(None, description="the id of an item in the index: what it is like")
    modality: Literal["text", "image"] | None = Field(
        None, description="what the vector was embedded from; without it the vector is compared as it is"
    )

    def given(self) -> list[str]:
        """Which of the ways to ask are used."""
        return [name for name in WAYS if getattr(self, name) is not None]

    def check_modality(self) -> None:
        """Raise ValueError for a modality without a vector."""
        if self.modality is not None and self.vector is None:
            raise ValueError("modality goes with a vector")


class Part(Asked):
    """One part of a mixture; a negative weight pushes away."""

    model_config = ConfigDict(json_schema_extra=_alone(*WAYS))

    weight: Weight = Field(1.0, description="its share of the distance")

    @model_validator(mode="after")
    def _check(self) -> Part:
        if len(self.given()) != 1:
            raise ValueError("expected exactly one of text, image, upload, vector and item")
        self.check_modality()
        return self


Mixture = Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS)]


class Options(BaseModel):
    """What of a search does not say what is searched for."""

    model_config = _STRICT

    k: Integer = Field(10, ge=1, le=MAX_K, description="how many hits; fewer where fewer items are there")
    where: Condition | None = Field(
        None, description="a condition on attributes: `label = 'cat' AND year >= 2020`"
    )
    explain: bool = Field(
        False,
        description="also what each codebook adds to a hit's distance, and which label words it is near",
    )
    attributes: bool = Field(False, description="also each hit's attributes, caption and picture")
    instance_weight: Annotated[float, Field(ge=0, le=MAX_WEIGHT)] | None = Field(
        None, description="of SPDQ's shared part: 0 ranks by meaning alone; of a gated embedding's guess"
    )


class Search(Asked, Options):
    """One search: exactly one of text, image, upload, vector, item and mix."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "a cat asleep", "k": 5},
                {"text": "heart", "k": 3, "where": "has(labels, 'group:symbols')", "explain": True},
                {"mix": [{"weight": 1.0, "text": "heart"}, {"weight": -0.5, "text": "red"}]},
            ],
            **_alone(*WAYS, "mix"),
        }
    )

    mix: Mixture | None = Field(None, description="several parts, their distances added by weight")

    @model_validator(mode="after")
    def _check(self) -> Search:
        if len(self.given()) + (self.mix is not None) != 1:
            raise ValueError("expected exactly one of text, image, upload, vector, item and mix")
        self.check_modality()
        return self

    @property
    def parts(self) -> list[Asked]:
        """What is searched by."""
        return [self] if self.mix is None else list(self.mix)


class UploadSearch(Options):
    """What is told beside an uploaded picture, which is all that is searched for or a part of a mixture."""

    mix: Mixture | None = Field(None, description="a mixture, of which one part or more is `upload`")


class Batch(BaseModel):
    """Several searches at once; none of them by an upload."""

    model_config = _STRICT

    queries: Annotated[list[Search], Field(min_length=1, max_length=MAX_BATCH)]


class Hit(BaseModel):
    """One found item."""

    rank: int = Field(description="1 is the closest")
    id: int | str
    distance: float = Field(
        description="inner product, larger = closer; or squared distance, by the index's metric"
    )
    shares: list[float] | None = Field(None, description="what each codebook adds; absent unless asked for")
    words: list[str] | None = Field(
        None, description="the label words nearest to what its code stands for; absent unless asked for"
    )
    attributes: dict[str, Any] | None = Field(None, description="absent unless asked for")
    caption: str | None = Field(None, description="the first line of its text; absent unless asked for")
    image: str | None = Field(None, description="where its thumbnail is; absent unless asked for")


class Answer(BaseModel):
    """The hits of one search, closest first."""

    hits: list[Hit]
    unknown_words: list[str] = Field(description="words of the text that the model does not know")
    note: str | None = Field(
        None, description="why there are no hits: no word of a text is known; else absent"
    )


class SearchAnswer(Answer):
    """The hits, and which state of the index they are from."""

    generation: int = Field(description="how many changes the index had seen")


class BatchAnswer(BaseModel):
    """Answers in the order of the queries, all from one generation."""

    answers: list[Answer]
    generation: int


class Item(BaseModel):
    """What is known of an item."""

    id: int | str
    attributes: dict[str, Any]
    caption: str | None = Field(description="the first line of its text")
    image: str | None = Field(description="where its thumbnail is")


class Listing(BaseModel):
    """Which items to list; the parameters of a URL, so that numbers come as text."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(60, ge=1, le=MAX_K, description="how many; fewer where fewer are there")
    where: Condition | None = Field(None, description="a condition on attributes")


class Items(BaseModel):
    """Some items, in the order of their ids."""

    items: list[Item]
    generation: int


class Facet(BaseModel):
    """What values an attribute has."""

    kind: Literal["int", "float", "str", "set"]
    values: list[tuple[str, int]] = Field(description="the most frequent texts, and how many items have each")
    n_values: int | None = Field(
        description="how many texts there are; null for numbers or too many to count"
    )
    minimum: float | None
    maximum: float | None


class About(BaseModel):
    """What is searched, and what it takes."""

    version: str = Field(description="of SPDQ")
    items: int
    generation: int
    metric: Literal["ip", "l2"]
    bits: int = Field(description="of a code")
    n_codebooks: int
    code_bytes: int = Field(description="of all codes")
    vector_bytes: int = Field(description="of the vectors they stand for, as float32")
    index_bytes: int = Field(description="of the index: codes, ids, attributes, codebooks, catalogue")
    searches: list[Literal["text", "image", "vector"]] = Field(description="what can be searched by")
    pictures: bool = Field(description="whether there are thumbnails")
    attributes: dict[str, Facet]


class NewItem(BaseModel):
    """An item to add: a vector, or a text, a picture or both."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra=_one_of(
            {
                "vector": ["text", "image", "upload"],
                "text": ["image", "upload", "vector"],
                "image": ["upload", "vector"],
                "upload": ["image", "vector"],
            }
        ),
    )

    id: Id
    text: Text | None = None
    image: Picture | None = Field(None, description="a JPEG, PNG or WebP file in base64")
    upload: Upload | None = Field(None, description="the file `image` of a multipart request")
    vector: Vector | None = None
    attributes: dict[str, int | float | str | list[str] | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> NewItem:
        pictures = (self.image is not None) + (self.upload is not None)
        described = (self.text is not None) + pictures
        if pictures > 1 or bool(described) == (self.vector is not None):
            raise ValueError("expected a vector, or a text, an image (or upload), or a text and an image")
        return self


class NewItems(BaseModel):
    """Items to add, all of them or none."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"items": [{"id": "1f431", "text": "cat face"}]}]},
    )

    items: Annotated[list[NewItem], Field(min_length=1, max_length=MAX_BATCH)]
    replace: bool = Field(False, description="also replace items that are there already")


class Changed(BaseModel):
    """What a change did."""

    items: int = Field(description="items added or replaced")
    generation: int
