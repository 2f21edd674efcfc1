"""Arrays in an npz file, read without pickle and without trusting a size that the file states."""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.problems import FieldError, Invalid, TooLarge

MOST_ARRAYS = 16
LONGEST_HEADER = 1_000
LAST_CODE, FIRST_SURROGATE, LAST_SURROGATE = 0x10FFFF, 0xD800, 0xDFFF
_DIRECTORY_END, _NUMBER = 22, 10  # the length of the record that ends a zip file; where it states the number of members
# Of booleans, integers, floats and strings; what numpy would need pickle for is none of them.
_HEADER = re.compile(
    rb"\{\s*'descr':\s*'(?P<descr>[<>|=]?(?:b1|[iu][1248]|f2|f4|f8|U[1-9]\d{0,4}))',"
    rb"\s*'fortran_order':\s*(?P<fortran>True|False),"
    rb"\s*'shape':\s*\((?P<shape>(?:\d{1,12},\s*){0,2}(?:\d{1,12})?)\),?\s*\}\s*"
)
_SIZES = re.compile(rb"\d+")


def read(body: bytes, *, most_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays by name. Raises: Invalid naming what is wrong; TooLarge for more than `most_bytes` decompressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            _check_members(members, most_bytes)
            _check_number(body, archive)
            contents = {member.filename.removesuffix(".npy"): archive.read(member) for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise Invalid(FieldError("body", f"{len(body)} bytes", f"must be an npz file: {error}")) from error
    return {name: _array(name, content) for name, content in contents.items()}


def _check_members(members: list[zipfile.ZipInfo], most_bytes: int) -> None:
    names = [member.filename for member in members]
    if len(names) > MOST_ARRAYS or len(set(names)) != len(names):
        raise Invalid(FieldError("body", f"{len(names)} arrays", f"must be at most {MOST_ARRAYS} of distinct names"))
    size = sum(member.file_size for member in members)
    if size > most_bytes:
        error = FieldError("body", size, f"must have at most {most_bytes} bytes, decompressed")
        raise TooLarge(f"the arrays have {size} bytes, the limit is {most_bytes}", errors=[error])
    for member in members:
        # the other methods decompress more than is asked for
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise Invalid(
                FieldError(member.filename, member.compress_type, "must be stored or deflated, not encrypted")
            )


def _check_number(body: bytes, archive: zipfile.ZipFile) -> None:
    """Raises BadZipFile for a directory of more members than were found: zipfile skips those it takes for a comment."""
    end = len(body) - len(archive.comment) - _DIRECTORY_END
    number = int.from_bytes(body[end + _NUMBER : end + _NUMBER + 2], "little")
    if number != len(archive.filelist):
        raise zipfile.BadZipFile(f"its directory states {number} arrays and lists {len(archive.filelist)}")


def _array(name: str, content: bytes) -> NDArray[Any]:
    start = 6 + 2 + (2 if content[6:7] == b"\1" else 4)
    end = start + int.from_bytes(content[8:start], "little")
    found = _HEADER.fullmatch(content[start:end][:LONGEST_HEADER]) if content.startswith(b"\x93NUMPY") else None
    if found is None:
        raise Invalid(FieldError(name, f"{len(content)} bytes", "must be an npy array of numbers, strings or booleans"))
    dtype, order, shape = np.dtype(found["descr"].decode()), found["fortran"], _SIZES.findall(found["shape"])
    sizes = [int(size) for size in shape]
    if not dtype.itemsize or math.prod(sizes) * dtype.itemsize != len(content) - end:
        raise Invalid(FieldError(name, f"{len(content) - end} bytes", f"must have as many as {sizes} of {dtype} need"))
    if dtype.kind == "U":
        codes = np.frombuffer(content, dtype.byteorder + "u4", offset=end)
        if ((codes > LAST_CODE) | ((codes >= FIRST_SURROGATE) & (codes <= LAST_SURROGATE))).any():
            raise Invalid(FieldError(name, f"{len(content) - end} bytes", "must be Unicode text"))
    return np.frombuffer(content, dtype, offset=end).reshape(sizes, order="F" if order == b"True" else "C")
