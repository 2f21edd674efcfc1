"""`amstream dead-letters`"""

from __future__ import annotations

from typing import Annotated

import typer

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_table


def dead_letters(
    context: typer.Context,
    model: ModelArgument,
    delete_until: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="Delete those up to this one, for good, and list the others.")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List accepted entries that could not be learned, and why. Nothing of them is in the model.

    Send their samples again, mended, if they matter; then delete the letters.

    Example: amstream dead-letters digits --delete-until 1796038637063-0
    """
    with connected(context, url, key) as client:
        if delete_until is not None:
            client.delete_dead_letters(model, delete_until)
        found = client.dead_letters(model)
    if as_json:
        print_json([vars(letter) for letter in found])
    else:
        rows = [(one.entry, "?" if one.samples is None else one.samples, one.size_bytes, one.cause) for one in found]
        print_table(("entry", "samples", "bytes", "cause"), rows)
