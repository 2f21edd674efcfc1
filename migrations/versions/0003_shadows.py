"""shadows: models that are fed with another one's log"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FOREIGN_KEY = "models_shadow_of_fkey"


def upgrade() -> None:
    with op.batch_alter_table("models") as table:
        table.add_column(sa.Column("shadow_of", sa.String(length=36), nullable=True))
        table.create_foreign_key(FOREIGN_KEY, "models", ["shadow_of"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("models") as table:
        table.drop_constraint(FOREIGN_KEY, type_="foreignkey")
        table.drop_column("shadow_of")
