"""One delivery, from the client's rows to the report: read it downward.

Every line is a stage; its body is the task of the same name in ``flows/steps.py``, ``flows/evidence.py``,
``flows/baseline.py``, ``flows/judged.py``, ``flows/suites.py`` or ``flows/labeling.py``, which calls the stage's package in
``delivery/``. Only references to stored results pass from line to line.
"""

from __future__ import annotations

from prefect import flow

from flows import baseline, evidence, judged, labeling, steps, suites


@flow(name="deliver", persist_result=False, validate_parameters=False)
def deliver(delivery_id: str) -> str:
    """Take one delivery through the line and return the reference of its report."""
    base = steps.fetch_base_model(delivery_id)
    data = steps.load_data(delivery_id)
    checked = steps.check_data(delivery_id, data, base)
    baseline.check_baseline(delivery_id, data)
    judged.check_judge(delivery_id)
    plan = steps.plan_training(delivery_id, data, base)
    plan = steps.sweep(delivery_id, data, base, plan)
    adapter = steps.train(delivery_id, data, base, plan)
    artifacts = steps.quantize(delivery_id, base, adapter)
    systems = [
        evidence.evaluate_candidate(delivery_id, data, plan, artifacts),
        evidence.evaluate_adapter(delivery_id, data, base, plan, adapter),
        *baseline.evaluate_baseline(delivery_id, data, base, plan),
        evidence.evaluate_base(delivery_id, data, base, plan),
        *evidence.evaluate_encoder(delivery_id, data),
        *evidence.evaluate_champion(delivery_id, data, plan, artifacts),
    ]
    compared = evidence.compare(delivery_id, data, base, systems)
    further = suites.evaluate_suites(delivery_id, data, base, plan, artifacts)
    load = steps.measure_load(delivery_id, data, plan, artifacts)
    steps.estimate_cost(delivery_id, compared, load)
    decision = steps.decide(delivery_id, checked, [compared, *further])
    version = steps.register(delivery_id, data, base, artifacts, decision)
    rounds = labeling.measure_rounds(delivery_id, data)
    return steps.write_report(delivery_id, version, further, rounds)
