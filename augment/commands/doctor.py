"""`augment doctor`: is everything there?"""

import json

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(as_json: bool) -> None:
    """Show versions, devices, extras and weights, with a remedy for what is missing.

    \b
    Example:
      augment doctor
    """
    from augment.doctor import examine

    found = examine()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for section, rows in found.items():
        click.echo(section)
        for name, value in rows.items():
            click.echo(f"  {name:<32} {value}")
