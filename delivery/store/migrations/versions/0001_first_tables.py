"""first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "clients",
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("vertical", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_clients")),
    )
    op.create_table(
        "datasets",
        sa.Column("client", sa.String(length=63), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["client"], ["clients.slug"], name=op.f("fk_datasets_client")),
        sa.PrimaryKeyConstraint("client", "fingerprint", name=op.f("pk_datasets")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("decision", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["client"], ["clients.slug"], name=op.f("fk_deliveries_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("client", "id", name=op.f("uq_deliveries_client_id")),
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index("ix_deliveries_client_created_at", ["client", "created_at"], unique=False)

    op.create_table(
        "model_versions",
        sa.Column("client", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("shipped", sa.String(length=32), nullable=False),
        sa.Column("shipped_sha256", sa.String(length=64), nullable=False),
        sa.Column("promote", sa.Boolean(), nullable=False),
        sa.Column("why_not", sa.String(), nullable=False),
        sa.Column("override_reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["client"], ["clients.slug"], name=op.f("fk_model_versions_client")),
        sa.PrimaryKeyConstraint("client", "number", name=op.f("pk_model_versions")),
    )
    op.create_table(
        "eval_results",
        sa.Column("client", sa.String(length=63), nullable=False),
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("suite", sa.String(length=64), nullable=False),
        sa.Column("system", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("n_scored", sa.Integer(), nullable=False),
        sa.Column("n_errored", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_eval_results_delivery"
        ),
        sa.PrimaryKeyConstraint("client", "delivery_id", "suite", "system", name=op.f("pk_eval_results")),
    )
    op.create_table(
        "reports",
        sa.Column("client", sa.String(length=63), nullable=False),
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_reports_delivery"),
        sa.PrimaryKeyConstraint("client", "delivery_id", name=op.f("pk_reports")),
    )
    op.create_table(
        "stage_states",
        sa.Column("client", sa.String(length=63), nullable=False),
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("started_at", sa.String(length=32), nullable=False),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_stage_states_delivery"
        ),
        sa.PrimaryKeyConstraint("client", "delivery_id", "stage", name=op.f("pk_stage_states")),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("stage_states")
    op.drop_table("reports")
    op.drop_table("eval_results")
    op.drop_table("model_versions")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_index("ix_deliveries_client_created_at")

    op.drop_table("deliveries")
    op.drop_table("datasets")
    op.drop_table("clients")
