"""how often each champion was challenged"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "champion_looks",
        sa.Column("client", sa.String(length=63), nullable=False),
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("champion_sha256", sa.String(length=64), nullable=False),
        sa.Column("test_sha256", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_champion_looks_delivery"
        ),
        sa.PrimaryKeyConstraint("client", "delivery_id", name=op.f("pk_champion_looks")),
    )
