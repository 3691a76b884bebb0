"""The map of the estate: every asset a DAG publishes, and nothing else.

Named ``<system>.<layer>.<thing>``. Each has exactly one producing task; consumers take one asset each (see
``dagkit.partitions``). An event carries the partition (a local business day or slot) and, as ``extra``, what the step
did: counts, months, places.
"""

from airflow.sdk import Asset

COMMERCIAL_LOG_WORKBOOK = Asset("commercial_log.landing.workbook", group="commercial_log")
COMMERCIAL_LOG_SPOTS = Asset("commercial_log.curated.spots", group="commercial_log")
COMMERCIAL_LOG_ARCHIVES = Asset("commercial_log.landing.archives", group="commercial_log")
COMMERCIAL_LOG_BACKUP = Asset("commercial_log.audit.backup", group="commercial_log")

CVAS_USER_BASE = Asset("cvas.landing.user_base", group="cvas")
CVAS_FILES = Asset("cvas.landing.transactions", group="cvas")
CVAS_LAKE = Asset("cvas.raw.transactions", group="cvas")
CVAS_SUBSCRIPTIONS = Asset("cvas.curated.subscriptions", group="cvas")
CVAS_COUNTERS = Asset("cvas.curated.counters", group="cvas")
CVAS_BACKUP = Asset("cvas.audit.backup", group="cvas")
