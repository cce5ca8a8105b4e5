"""What passes between the stages: frozen, hashed, and storable as JSON.

Read it in this order and you have followed a labeled row to the report:
LabeledDataset -> Splits (``data``) -> TrainingPlan -> Adapter -> Artifact (``model``) -> SystemResult -> SuiteResult
(``evidence``) -> CostEstimate -> Decision -> Report (``outcome``).
"""

from delivery.artifacts.data import Check, DataReport, Example, LabeledDataset, Message, Split, Splits, Status
from delivery.artifacts.evidence import (
    Answer,
    BaselinePack,
    Comparison,
    Estimate,
    Sample,
    Scored,
    SliceResult,
    Source,
    Suite,
    SuiteResult,
    SystemName,
    SystemResult,
)
from delivery.artifacts.model import (
    Adapter,
    Artifact,
    BaseModel,
    LossPoint,
    Machine,
    TokenStats,
    TrainingPlan,
    TrainingRecord,
    describe_folder,
    verify_artifact,
)
from delivery.artifacts.outcome import ApiCost, CostEstimate, Decision, Gate, Latency, Recovery, Report
from delivery.artifacts.storing import (
    OnProgress,
    Progress,
    from_json,
    no_progress,
    sha256_file,
    sha256_json,
    to_json,
    write_atomic,
)

__all__ = [
    "Adapter",
    "Answer",
    "ApiCost",
    "Artifact",
    "BaseModel",
    "BaselinePack",
    "Check",
    "Comparison",
    "CostEstimate",
    "DataReport",
    "Decision",
    "Estimate",
    "Example",
    "Gate",
    "LabeledDataset",
    "Latency",
    "LossPoint",
    "Machine",
    "Message",
    "OnProgress",
    "Progress",
    "Recovery",
    "Report",
    "Sample",
    "Scored",
    "SliceResult",
    "Source",
    "Split",
    "Splits",
    "Status",
    "Suite",
    "SuiteResult",
    "SystemName",
    "SystemResult",
    "TokenStats",
    "TrainingPlan",
    "TrainingRecord",
    "describe_folder",
    "from_json",
    "no_progress",
    "sha256_file",
    "sha256_json",
    "to_json",
    "verify_artifact",
    "write_atomic",
]
