"""Keep storages and rows in agreement: for operators, and for the background of an application."""

from filecolumn.maintenance.adopt import adopt, undelete
from filecolumn.maintenance.check import (
    CheckReport,
    Finding,
    FindingKind,
    OnFinding,
    RowReference,
    check,
)
from filecolumn.maintenance.columns import (
    ColumnReport,
    copy_files,
    forget_file_column,
    list_file_columns,
    rename_file_column,
)
from filecolumn.maintenance.drain import DrainReport, drain
from filecolumn.maintenance.migrate import migrate
from filecolumn.maintenance.required import Models
from filecolumn.maintenance.status import ColumnStatus, StatusReport, status
from filecolumn.maintenance.survey import Progress
from filecolumn.maintenance.sweep import QUARANTINE, SWEEP_GRACE, SweepReport, sweep, sweep_when_due
from filecolumn.maintenance.triggers import (
    OnTrigger,
    TriggerChange,
    attach_triggers,
    install_triggers,
    remove_triggers,
)
from filecolumn.maintenance.twins import (
    adopt_async,
    check_async,
    copy_files_async,
    drain_async,
    forget_file_column_async,
    install_triggers_async,
    list_file_columns_async,
    migrate_async,
    remove_triggers_async,
    rename_file_column_async,
    status_async,
    sweep_async,
    sweep_when_due_async,
    undelete_async,
)

__all__ = (
    "QUARANTINE",
    "SWEEP_GRACE",
    "CheckReport",
    "ColumnReport",
    "ColumnStatus",
    "DrainReport",
    "Finding",
    "FindingKind",
    "Models",
    "OnFinding",
    "OnTrigger",
    "Progress",
    "RowReference",
    "StatusReport",
    "SweepReport",
    "TriggerChange",
    "adopt",
    "adopt_async",
    "attach_triggers",
    "check",
    "check_async",
    "copy_files",
    "copy_files_async",
    "drain",
    "drain_async",
    "forget_file_column",
    "forget_file_column_async",
    "install_triggers",
    "install_triggers_async",
    "list_file_columns",
    "list_file_columns_async",
    "migrate",
    "migrate_async",
    "remove_triggers",
    "remove_triggers_async",
    "rename_file_column",
    "rename_file_column_async",
    "status",
    "status_async",
    "sweep",
    "sweep_async",
    "sweep_when_due",
    "sweep_when_due_async",
    "undelete",
    "undelete_async",
)
