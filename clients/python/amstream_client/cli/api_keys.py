"""`amstream api-keys …`: who may call, over HTTP. For an admin key that is not bound to models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="API keys of a service, over HTTP, by its admin key.")


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option("--scope", help="predict, learn, snapshot or admin; repeatable.")],
    model: Annotated[list[str] | None, typer.Option("--model", help="Bind the key to models; repeatable.")] = None,
    expires_in: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="When it ends by itself. Default: never.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Requests a minute. Default: as the service is set.")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print it this once: the service keeps its hash alone.

    Example: amstream api-keys create sensor-7 --scope learn --model boiler
    """
    with connected(context, url, key) as client:
        created = client.create_key(
            name, scope, models=model or None, expires_in_s=expires_in, requests_per_minute=rate
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

    Example: amstream api-keys list --revoked
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
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")],
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: it is refused from then on.

    Example: amstream api-keys revoke 7f9c…
    """
    with connected(context, url, key) as client:
        client.revoke_key(key_id)
    if as_json:
        print_json({"revoked": key_id})
    else:
        typer.echo(f"revoked {key_id}")
