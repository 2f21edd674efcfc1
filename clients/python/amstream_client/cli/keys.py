"""`amstream keys …`: who may call. For an admin key that is not bound to models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_table
from amstream_client.errors import AmstreamError

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys, by an admin key.")


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for; unique among keys in force.")],
    scope: Annotated[list[str], typer.Option("--scope", help="predict, learn, snapshot or admin; repeatable.")],
    model: Annotated[list[str] | None, typer.Option("--model", help="Bind the key to models; repeatable.")] = None,
    days: Annotated[float | None, typer.Option(metavar="N", help="How long it holds. Default: until revoked.")] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Requests a minute. Default: as the service is set.")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print it this once: the service keeps its hash alone.

    Example: amstream keys create sensor-7 --scope learn --model boiler --days 90
    """
    expires_in_s = None if days is None else days * 86_400
    with connected(context, url, key) as client:
        created = client.create_key(
            name, scope, models=model or None, expires_in_s=expires_in_s, requests_per_minute=rate
        )
    if as_json:
        print_json(asdict(created))
    else:
        typer.echo(created.key)


@app.command("list")
def list_keys(
    context: typer.Context,
    revoked: Annotated[bool, typer.Option("--revoked", help="With those that were revoked.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List keys: their names, scopes and dates, never the keys themselves.

    Example: amstream keys list --revoked
    """
    with connected(context, url, key) as client:
        keys = client.keys(revoked=revoked)
    if as_json:
        print_json([asdict(one) for one in keys])
        return
    print_table(
        ("id", "name", "scopes", "models", "created", "expires", "revoked"),
        ((k.id, k.name, " ".join(k.scopes), k.models or "all", k.created_at, k.expires_at, k.revoked_at) for k in keys),
    )


@app.command()
def revoke(
    context: typer.Context,
    named: Annotated[str, typer.Argument(metavar="NAME", help="The key's name, or its id.")],
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: it is refused from then on, by other processes within seconds.

    Example: amstream keys revoke sensor-7
    """
    with connected(context, url, key) as client:
        in_force = client.keys()
        found = next((each for each in in_force if named in (each.id, each.name)), None)
        if found is None:
            raise AmstreamError(f"there is no key {named!r} in force")
        client.revoke_key(found.id)
    if as_json:
        print_json({"revoked": found.id, "name": found.name})
    else:
        typer.echo(f"revoked {found.name}")
