"""LlamaIndex's content blocks <-> parts of a message in OpenAI format."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import IOBase
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    VideoBlock,
)

from bestroute.errors import RequestError

Part = dict[str, Any]

_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "vnd.wave": "wav"}
_TEXTS = ("json", "xml", "yaml", "javascript", "toml", "/x-sh", "/sql")
"""Ends of MIME types that are text by another name."""


def parts(blocks: Iterable[object]) -> list[Part]:
    """The parts of a message.

    A cache point marks the part before it; LiteLLM passes the mark to the providers that know
    it, and takes it off for the others. What is cited counts as text, its title before it, and
    so does a document that is text.

    Raises:
        RequestError: A block that cannot be sent; names the block.
    """
    made: list[Part] = []
    for block in blocks:
        if isinstance(block, CachePoint):
            _mark(made, block)
        else:
            made += _parts(block)
    return made


def as_text(made: Iterable[Part]) -> str | None:
    """Parts as one string; `None` where they are more than text."""
    found = list(made)
    only_text = all(set(part) == {"type", "text"} for part in found)
    return "\n".join(part["text"] for part in found) if only_text else None


def _mark(made: list[Part], point: CachePoint) -> None:
    if not made:
        raise RequestError("a CachePoint marks the block before it, and there is none: move it")
    control = point.cache_control.model_dump()
    made[-1] = {**made[-1], "cache_control": control}


def _parts(block: object) -> Iterator[Part]:
    if isinstance(block, CitableBlock | CitationBlock):
        cited = block.content if isinstance(block, CitableBlock) else [block.cited_content]
        yield _text(" ".join(filter(None, (block.title, block.source and f"({block.source})"))))
        yield from parts(cited)
    else:
        yield _part(block)


def _part(block: object) -> Part:
    make, kind = _MAKERS.get(type(block)), getattr(block, "block_type", "unknown")
    if make is None:
        raise RequestError(
            f"a block of type {kind!r} ({type(block).__name__}) cannot be routed: give its text "
            "as a TextBlock"
        )
    try:
        return make(block)
    except RequestError:
        raise
    except (ValueError, OSError) as error:
        raise RequestError(f"the {kind} block cannot be read: {error}") from error


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _image(block: ImageBlock) -> Part:
    if block.url is not None:
        url = str(block.url)
        if url.startswith("file:"):
            raise RequestError(f"image block with the url {url!r} cannot be sent: give its path")
    else:
        url = _data_url(block.image_mimetype or "image/png", block.resolve_image())
    image = {"url": url, "detail": block.detail} if block.detail else {"url": url}
    return {"type": "image_url", "image_url": image}


def _audio(block: AudioBlock) -> Part:
    _refuse_address("audio", block.url)
    known = (_mime(block.path, block.url) or "audio/wav").removeprefix("audio/")
    form = block.format or _AUDIO_FORMATS.get(known, known)
    audio = {"data": _base64(block.resolve_audio().read()), "format": form}
    return {"type": "input_audio", "input_audio": audio}


def _video(block: VideoBlock) -> Part:
    _refuse_address("video", block.url)
    content = block.resolve_video()
    mime = block.video_mimetype or _mime(block.path, block.url) or "video/mp4"
    file = {"file_data": _data_url(mime, content), "filename": "video", "format": mime}
    if block.detail:
        file["detail"] = block.detail
    if block.fps:
        return _file({**file, "video_metadata": {"fps": block.fps}})
    return _file(file)


def _document(block: DocumentBlock) -> Part:
    _refuse_address("document", block.url)
    content = block.resolve_document()
    data = content.read()
    known = block.document_mimetype or _mime(block.path, block.url, block.title)
    mime = known or DocumentBlock(data=data).document_mimetype  # which looks at the bytes
    if mime is None or mime.startswith("text/") or mime.endswith(_TEXTS):
        return _text(f"{block.title}\n{_decoded(data, mime, block.title)}")
    url = f"data:{mime};base64,{_base64(data)}"
    return _file({"file_data": url, "filename": _filename(block, mime), "format": mime})


def _decoded(data: bytes, mime: str | None, title: str | None) -> str:
    try:
        return data.decode("utf-8", errors="replace" if mime else "strict")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the kind of the document block {title!r} is unknown: give its document_mimetype"
        ) from error


def _filename(block: DocumentBlock, mime: str) -> str:
    title, ending = block.title or "document", mimetypes.guess_extension(mime) or ""
    return title if "." in title else title + ending


def _file(file: Mapping[str, Any]) -> Part:
    return {"type": "file", "file": dict(file)}


def _mime(*names: object) -> str | None:
    """By a file's name, or out of a data URL."""
    guesses = (mimetypes.guess_type(str(name))[0] for name in names if name is not None)
    return next(filter(None, guesses), None)


def _refuse_address(kind: str, url: object) -> None:
    """Not every provider fetches what has an address, and we fetch nothing."""
    if url is not None and not str(url).startswith("data:"):
        raise RequestError(f"{kind} block with a url cannot be sent: give its bytes or its path")


def _data_url(mime: str, content: IOBase) -> str:
    return f"data:{mime};base64,{_base64(content.read())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


_MAKERS: Mapping[type, Callable[[Any], Part]] = {
    TextBlock: lambda block: _text(block.text),
    ImageBlock: _image,
    AudioBlock: _audio,
    VideoBlock: _video,
    DocumentBlock: _document,
}


def blocks(content: str | Iterable[Part] | None, *, marked: bool) -> Iterator[ContentBlock]:
    """The blocks of a message's content, for a model to be asked.

    Args:
        content: The content in OpenAI format.
        marked: Whether marks of what is to be cached become cache points.

    Raises:
        ValueError: A part that is no block of LlamaIndex's.
    """
    for part in [_text(content)] if isinstance(content, str) else content or ():
        read = _READERS.get(str(part.get("type")))
        if read is None:
            raise ValueError(f"a part of type {part.get('type')!r} is no block of LlamaIndex's")
        yield read(part)
        if marked and (control := part.get("cache_control")):
            yield CachePoint(cache_control=CacheControl(**control))


def _image_block(part: Part) -> ContentBlock:
    image = part["image_url"]
    url, detail = (image, None) if isinstance(image, str) else (image["url"], image.get("detail"))
    if not url.startswith("data:"):
        return ImageBlock(url=url, detail=detail)
    mime, data = _of_data_url(url)
    return ImageBlock(image=data, image_mimetype=mime, detail=detail)


def _audio_block(part: Part) -> ContentBlock:
    audio = part["input_audio"]
    return AudioBlock(audio=audio["data"].encode("ascii"), format=audio["format"])


def _file_block(part: Part) -> ContentBlock:
    file = part["file"]
    if not str(file.get("file_data")).startswith("data:"):
        raise ValueError("a file without its data is no block of LlamaIndex's")
    mime, data = _of_data_url(file["file_data"])
    if mime.startswith("video/"):
        fps = (file.get("video_metadata") or {}).get("fps")
        return VideoBlock(video=data, video_mimetype=mime, detail=file.get("detail"), fps=fps)
    return DocumentBlock(data=data, title=file.get("filename"), document_mimetype=mime)


def _of_data_url(url: str) -> tuple[str, bytes]:
    """MIME type and content, in base64 as LlamaIndex's blocks keep it."""
    head, _, data = url.removeprefix("data:").partition(",")
    return head.partition(";")[0], data.encode("ascii")


_READERS: Mapping[str, Callable[[Part], ContentBlock]] = {
    "text": lambda part: TextBlock(text=part["text"]),
    "image_url": _image_block,
    "input_audio": _audio_block,
    "file": _file_block,
}
