"""``demo``, ``plan``, ``run``, ``status``, ``resume``: the line itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delivery.cli.live import LiveView, duration, elapsed, progress_of
from delivery.cli.output import Json, emit, say, table
from delivery.settings import get_settings

if TYPE_CHECKING:
    from delivery.client_config import ClientConfig
    from delivery.settings import Workspace
    from flows.start import Outcome

DEMO = "demo-insurer"
Pool = Annotated[str, typer.Option(help="A machine of the pool catalog; 'local' is this one.")]
Slug = Annotated[str, typer.Argument(help="The client's name: its folder in clients/.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(epilog="Example: delivery demo")(demo)
    app.command(epilog="Example: delivery plan demo-insurer")(plan)
    app.command(epilog="Example: delivery run demo-insurer --full")(run)
    app.command(epilog="Example: delivery status demo-insurer")(status)
    app.command(epilog="Example: delivery resume 20261122-201500-3fa9")(resume)


def demo(as_json: Json = False) -> None:
    """Deliver the demo client: train, measure, quantize, register and report, in minutes, on this machine."""
    from delivery.client_config import load_client
    from delivery.errors import ConfigError
    from delivery.settings import Workspace, bundled, find_workspace

    try:
        workspace = find_workspace()
    except ConfigError:
        workspace = Workspace(Path.cwd())
    if not (workspace.clients / DEMO).is_dir():
        copy = workspace.clients / f".{DEMO}.partial"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(bundled("clients", DEMO), copy)
        copy.rename(workspace.clients / DEMO)
    _deliver(workspace, load_client(workspace.clients, DEMO), as_json=as_json, require_pass=False)


def run(
    client: Slug,
    pool: Pool = "local",
    require_pass: Annotated[bool, typer.Option("--require-pass", help="Exit with 4 when a gate is not passed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and show the plan; train nothing.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Train without the client's time bound (training.max_minutes).")] = False,
    nproc: Annotated[int | None, typer.Option("--nproc", min=1, help="Training processes, one for each device.")] = None,
    as_json: Json = False,
) -> None:
    """Take a client's data through the whole line."""
    from delivery.client_config import load_client
    from delivery.settings import find_workspace

    if nproc is not None:
        use_processes(nproc)
    workspace = find_workspace()
    config = load_client(workspace.clients, client)
    if full:
        config = config.model_copy(update={"training": config.training.model_copy(update={"max_minutes": None})})
    if dry_run:
        _show_plan(workspace, config, pool=pool, as_json=as_json)
    else:
        _refuse_elsewhere(workspace, client, pool)
        _deliver(workspace, config, as_json=as_json, require_pass=require_pass)


def use_processes(number: int) -> None:
    """Let training use so many processes, in this process and those that it starts."""
    os.environ["DELIVERY_PROCESSES"] = str(number)
    get_settings.cache_clear()


def _refuse_elsewhere(workspace: Workspace, client: str, pool: str) -> None:
    from delivery.errors import ConfigError
    from flows.pools import THIS_MACHINE, pool_of

    if pool in THIS_MACHINE:
        return
    pool_of(pool, workspace)
    raise ConfigError(
        f"--pool {pool}: deliveries run on this machine only, there is no work pool for {pool}; "
        f"'delivery plan {client} --pool {pool}' shows what the training would take there"
    )


def resume(
    delivery: Annotated[str, typer.Argument(help="The id of the delivery, as 'delivery status' shows it.")],
    require_pass: Annotated[bool, typer.Option("--require-pass", help="Exit with 4 when a gate is not passed.")] = False,
    as_json: Json = False,
) -> None:
    """Go on with a delivery that was stopped, killed or failed; what was finished is not done again."""
    from delivery.settings import find_workspace
    from flows.start import resume as go_on

    workspace = find_workspace()
    _follow(workspace, partial(go_on, workspace, delivery), as_json=as_json, require_pass=require_pass)


def _deliver(workspace: Workspace, config: ClientConfig, *, as_json: bool, require_pass: bool) -> None:
    from flows.start import start

    _follow(workspace, partial(start, workspace, config), as_json=as_json, require_pass=require_pass)


def _follow(workspace: Workspace, go: Callable[..., Outcome], *, as_json: bool, require_pass: bool) -> None:
    from flows.line import store_of

    store = store_of(workspace)
    with LiveView() as view:
        outcome = go(on_start=lambda delivery_id: view.watch(store.client(store.client_of(delivery_id) or ""), delivery_id))
    _show_outcome(outcome, as_json=as_json)
    if require_pass and not outcome.promote:
        from delivery.errors import GateNotPassed

        raise GateNotPassed(f"{outcome.client}: a gate was not passed; the report says which: {outcome.report / 'report.html'}")


def _show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    from delivery.report import read_json

    report = read_json(outcome.report)
    if as_json:
        emit({"client": outcome.client, "delivery": outcome.delivery_id, "report": str(outcome.report), **report})
        return
    for suite in report["suites"]:
        rows = []
        for system in suite["systems"]:
            against = next((c for c in suite["comparisons"] if _is_on(c, suite, system)), None)
            rows.append(
                (
                    system["system"] + (" (stand-in)" if system["source"] == "stand-in" else ""),
                    system["model"],
                    _score(system),
                    system["n_scored"],
                    _against(against),
                )
            )
        title = f"{suite['suite']}: {suite['primary_metric'].replace('_', ' ')}, 95 % interval"
        say("")
        table(("system", "model", "score", "n", "candidate against it"), rows, title=title)
    say("")
    cost = report["cost"]
    say(f"cost      ${cost['usd_per_1000_requests']} per 1,000 requests on {cost['hardware']}; " + _cost_ratios(cost))
    decision = report["decision"]
    failed = [gate["why"] for gate in decision["gates"] if not gate["passed"]]
    say("decision  ready to promote" if decision["promote"] else f"decision  not ready: {' '.join(failed)}")
    say(f"report    {outcome.report / 'report.html'}")


def _score(system: dict[str, Any]) -> str:
    if system["value"] is None:
        return "not judged"
    low, high = system["ci95"]
    return f"{100 * system['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _is_on(comparison: dict[str, Any], suite: dict[str, Any], system: dict[str, Any]) -> bool:
    pair, wanted = (comparison["a"], comparison["b"]), ("candidate", system["system"])
    return pair == wanted and comparison["metric"] == suite["primary_metric"]


def _against(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    low, high = comparison["ci95"]
    verdict = comparison["verdict"].replace("_", " ")
    return f"{100 * comparison['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}): {verdict}"


def _cost_ratios(cost: dict[str, Any]) -> str:
    return ", ".join(f"{entry['ratio']:.2g}x {model}" for model, entry in cost["api"].items())


def plan(client: Slug, pool: Pool = "local", as_json: Json = False) -> None:
    """Show what a delivery would do and take, here and on other pools, and the difference that the test can show."""
    from delivery.client_config import load_client
    from delivery.settings import find_workspace

    workspace = find_workspace()
    _show_plan(workspace, load_client(workspace.clients, client), pool=pool, as_json=as_json)


def _show_plan(workspace: Workspace, config: ClientConfig, *, pool: str, as_json: bool) -> None:
    from flows.environment import prepare

    prepare(workspace)
    from flows.preview import preview

    document = preview(workspace, config, pool=pool)
    if as_json:
        emit(document)
        return
    training, data = document["training"], document["data"]
    rows = [
        ("data", f"{data['rows']} rows: " + ", ".join(f"{n} {side}" for side, n in data["splits"].items())),
        ("base model", f"{document['base_model']['name']}, {document['base_model']['parameters'] / 1e6:.1f} M parameters"),
        (
            "method",
            f"{training['method']}, rank {training['rank']}, {training['steps']} steps, {training['epochs']:.2f} epochs",
        ),
        ("memory", f"{training['predicted_peak_bytes'] / 2**30:.1f} GiB of {document['machine_memory_bytes'] / 2**30:.1f} GiB"),
        ("time", f"{duration(document['predicted_seconds'])} of training, plus evaluation and quantization"),
        ("money", f"${document['predicted_usd']} of {document['hardware']}"),
        ("pool", document["pool"] + (", this machine" if document["pool"] == "local" else "")),
        ("power", document["power"]["sentence"]),
        *(("gates", f"{one['detail']}; {one['remedy']}") for one in document["guards"] if one["status"] == "warn"),
        *(("why", sentence) for sentence in training["why"]),
    ]
    table(("", ""), rows, title=f"plan for {config.client}")
    say("")
    table(
        ("pool", "device", "method", "steps", "micro-batch", "memory", "time", "money", ""),
        [_pool_row(each, cheapest=document["cheapest"]) for each in document["pools"]],
        title="training, by pool",
    )


def _pool_row(pool: dict[str, Any], *, cheapest: str | None) -> tuple[object, ...]:
    device = f"{pool['devices']} x {pool['device']}" if pool["devices"] > 1 else pool["device"]
    has = f"{pool['memory_bytes'] / 2**30:.0f} GiB"
    if not pool["fits"]:
        return (pool["pool"], device, "", "", "", has, "", f"${pool['hourly_usd']}/h", f"does not fit: {pool['why_not']}")
    notes = [note for note, holds in (("cheapest", pool["pool"] == cheapest), ("preemptible", pool["preemptible"])) if holds]
    return (
        pool["pool"],
        device,
        pool["method"],
        pool["steps"],
        f"{pool['micro_batch_tokens']} tokens x {pool['accumulation']}",
        f"{pool['predicted_peak_bytes'] / 2**30:.1f} of {has}",
        duration(pool["predicted_seconds"]),
        f"${pool['predicted_usd']}",
        ", ".join(notes),
    )


def status(
    client: Annotated[str | None, typer.Argument(help="One client; all of them by default.")] = None, as_json: Json = False
) -> None:
    """List deliveries, and the stages of a client's newest one."""
    from delivery.client_config import list_clients, load_client
    from delivery.settings import find_workspace
    from flows.line import store_of

    workspace = find_workspace()
    if client is not None:
        load_client(workspace.clients, client)
    store = store_of(workspace)
    slugs = [client] if client else list_clients(workspace.clients)
    found = [(store.client(slug), row) for slug in slugs for row in store.client(slug).deliveries(limit=20 if client else 1)]
    if as_json:
        emit({"deliveries": [_delivery_document(repository, row) for repository, row in found]})
        return
    if not found:
        say("no deliveries yet: 'delivery demo' or 'delivery run CLIENT' starts one")
        return
    rows = [
        (row.client, row.id, row.state, {None: "", True: "ready", False: "not ready"}[_promote(row)], row.error)
        for _, row in found
    ]
    table(("client", "delivery", "state", "decision", "note"), rows)
    if client:
        repository, newest = found[0]
        stages = [
            (s.stage.replace("_", " "), s.state, duration(elapsed(s)), progress_of(s)) for s in repository.stages(newest.id)
        ]
        say("")
        table(("stage", "state", "time", ""), stages, title=f"stages of {newest.id}")


def _promote(row: Any) -> bool | None:
    return row.decision["promote"] if row.decision else None


def _delivery_document(repository: Any, row: Any) -> dict[str, Any]:
    return {
        "client": row.client,
        "id": row.id,
        "state": row.state,
        "error": row.error,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "decision": row.decision,
        "stages": [
            {
                "stage": s.stage,
                "state": s.state,
                "seconds": round(elapsed(s), 3),
                "done": s.done,
                "total": s.total,
                "unit": s.unit,
            }
            for s in repository.stages(row.id)
        ],
    }
